//! The scene of every fault: a pool of four, a TCP and a UDP service, long-lived flows on all of them and new ones coming.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_tests::daemon::{Daemon, Engine};
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::pulse::{Beat, Pulse};
use lb_tests::load::server::{Ports, Server};
use lb_tests::load::spread::{Flows, Protocol, spread};
use lb_tests::load::steady::{Attempt, Steady};
use serde_json::Value;

pub(crate) const BACKENDS: usize = 4;
pub(crate) const PORT: u16 = 7000;
const SERVICE_PORT: u16 = 8000;
/// Long-lived flows of each protocol: enough that every backend has some.
const LONG_LIVED: u32 = 40;
const ASK_EVERY: Duration = Duration::from_millis(100);
/// New TCP connections a second, where the fault is not one of speed.
pub(crate) const RATE: u32 = 500;

pub(crate) const INTERVAL: Duration = Duration::from_millis(200);
pub(crate) const TIMEOUT: Duration = Duration::from_millis(200);
pub(crate) const FALL: u32 = 3;
/// What a loaded machine of two cores may add by running its processes late.
pub(crate) const MARGIN: Duration = Duration::from_millis(300);

/// The most time in which a dead backend may still get new flows.
pub(crate) fn detection() -> Duration {
    INTERVAL * FALL + TIMEOUT + MARGIN
}

/// One fault at a time: they are told by the clock, and two at once would wait for one another's processors.
static STAGE: Mutex<()> = Mutex::new(());

pub(crate) struct Scene {
    pub(crate) servers: Vec<Option<Server>>,
    pub(crate) daemon: Daemon,
    pub(crate) lab: Lab,
    _stage: MutexGuard<'static, ()>,
}

pub(crate) fn address(index: usize) -> String {
    SocketAddr::new(addresses::backend(index, Family::V4), PORT).to_string()
}

pub(crate) fn service() -> SocketAddr {
    SocketAddr::new(addresses::vip(10, Family::V4), SERVICE_PORT)
}

/// The scene's pool and services, with `backends` of the lab's.
pub(crate) fn config(backends: &[usize]) -> String {
    let list: Vec<String> = backends.iter().map(|i| format!("{{ address = \"{}\" }}", address(*i))).collect();
    let head = format!(
        "[[pool]]\nname = \"web\"\nalgorithm = \"maglev\"\nbackends = [{}]\n[pool.health]\ntype = \"tcp\"\n\
         interval = \"{}ms\"\ntimeout = \"{}ms\"\nrise = 2\nfall = {FALL}\n",
        list.join(", "),
        INTERVAL.as_millis(),
        TIMEOUT.as_millis(),
    );
    let service = |protocol: &str| {
        format!(
            "\n[[service]]\nname = \"{protocol}\"\nlisten = \"{}/{protocol}\"\npool = \"web\"\nforward = \"nat\"\n\
             idle_timeout = \"3s\"\ndrain_timeout = \"60s\"\n",
            service()
        )
    };
    format!("{head}{}{}", service("tcp"), service("udp"))
}

impl Scene {
    pub(crate) fn new(engine: Engine) -> Result<Self> {
        Self::with(engine, "flow_table_size = 100_000")
    }

    pub(crate) fn with(engine: Engine, host_lines: &str) -> Result<Self> {
        // A test that failed on the stage leaves it as clean as one that did not.
        let stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::new(Topology::OneArmed, BACKENDS)?;
        let ports = Ports { lines: vec![PORT], http: Vec::new(), udp: vec![PORT] };
        let servers = lab.backends().iter().map(|b| Server::start(b, &ports).map(Some)).collect::<Result<_>>()?;
        let all: Vec<usize> = (0..BACKENDS).collect();
        let daemon = Daemon::start_with(&lab, engine, host_lines, &config(&all))?;
        daemon.all_healthy()?;
        Ok(Self { servers, daemon, lab, _stage: stage })
    }

    pub(crate) fn pulse(&self, protocol: Protocol) -> Result<Pulse> {
        let first = if protocol == Protocol::Tcp { 0 } else { 1_000 };
        let pulse = Pulse::start(self.lab.client(), service(), protocol, first, LONG_LIVED, ASK_EVERY)?;
        for i in 0..BACKENDS {
            ensure!(pulse.on(&format!("b{i}")) > 0, "no long-lived flow on b{i}: {:?}", pulse.placed());
        }
        Ok(pulse)
    }

    pub(crate) fn steady(&self, rate: u32) -> Result<Steady> {
        Steady::start(self.lab.client(), service(), rate, 100_000)
    }

    /// Opens flows that no one else has opened, all of which must be answered.
    pub(crate) fn fresh(&self, protocol: Protocol, first: u32, count: u32) -> Result<Vec<(SocketAddr, String)>> {
        let outcome = spread(self.lab.client(), Flows::new(service(), protocol, first, count))?;
        ensure!(outcome.failed == 0, "{} of {count} fresh flows failed: {:?}", outcome.failed, outcome.failures);
        Ok(outcome.placed)
    }

    /// A number of one backend in `lb backend list --json`.
    pub(crate) fn number(&self, index: usize, field: &str) -> Result<u64> {
        let backend = self.daemon.backend("web", &address(index))?;
        backend[field].as_u64().with_context(|| format!("{field} is no number: {backend}"))
    }

    /// What was dropped so far, by service.
    pub(crate) fn dropped(&self) -> Result<Vec<Value>> {
        let all = self.daemon.json(&["service", "list"])?;
        Ok(all.as_array().context("no array")?.iter().map(|s| s["dropped"].clone()).collect())
    }

    pub(crate) fn text(&self, index: usize, field: &str) -> Result<String> {
        let backend = self.daemon.backend("web", &address(index))?;
        Ok(backend[field].as_str().with_context(|| format!("{field} is no text: {backend}"))?.to_owned())
    }
}

/// No flow failed or moved, except those that began on `spared`.
pub(crate) fn untouched(beats: &[Beat], spared: Option<&str>) -> Result<()> {
    for beat in beats.iter().filter(|b| Some(b.backend.as_str()) != spared) {
        ensure!(beat.failure.is_none() && beat.moved.is_none(), "touched: {beat:?}");
        ensure!(beat.answers > 5, "hardly asked anything: {beat:?}");
    }
    Ok(())
}

/// Every attempt that began outside `window` was answered, and the generator kept its rate.
pub(crate) fn none_failed(attempts: &[Attempt], at: u32, window: Option<(Instant, Instant)>) -> Result<usize> {
    let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else {
        anyhow::bail!("no attempt at all");
    };
    let rate = attempts.len() as f64 / last.began.duration_since(first.began).as_secs_f64();
    ensure!(rate > f64::from(at) * 0.9, "only {rate:.0} connections a second were opened, not {at}");
    let inside = |a: &&Attempt| window.is_some_and(|(from, to)| a.began + a.took >= from && a.began <= to);
    let failed: Vec<&Attempt> = attempts.iter().filter(|a| a.outcome.is_err()).collect();
    let outside: Vec<_> = failed.iter().filter(|a| !inside(a)).take(5).collect();
    ensure!(outside.is_empty(), "{} of {} failed; outside the window: {outside:?}", failed.len(), attempts.len());
    Ok(failed.len())
}
