//! A client that does nothing wrong, while others do: how long its requests take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::scene::get;

/// What is allowed above twice the idle value: the machine is shared, the attackers of a test use the same few cores, and
/// the product is built without optimisation here. What is to be seen is whether somebody waits for an attacker.
fn floor() -> Duration {
    // The usual run may share its machine with anything; who runs the long one sees to it that it does not.
    Duration::from_millis(if std::env::var_os("LB_LONG").is_some() { 100 } else { 400 })
}

/// How long it is looked at least.
const LEAST: Duration = Duration::from_millis(1500);

pub(crate) struct Witness {
    front: SocketAddr,
    idle: Duration,
}

/// Asks every 5 ms, every tenth time on a new connection, until told to stop; all the times taken.
fn watch(front: SocketAddr, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let mut client = Client::connect(front)?;
    while !stop.load(Ordering::Relaxed) {
        let start = clock::now();
        if times.len() % 10 == 9 {
            client = Client::connect(front)?;
        }
        let answer = client.ask(get("/witness", ""))?;
        ensure!(answer.status == 200, "the witness got {}: {}", answer.status, answer.text());
        times.push(start.elapsed());
        clock::pass(Duration::from_millis(5));
    }
    ensure!(times.len() >= 20, "only {} requests", times.len());
    Ok(times)
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

impl Witness {
    /// Looks for two seconds at how it is without anybody else.
    pub(crate) fn new(front: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = Self::spawn(front, &stop);
        clock::pass(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        let idle = p99(thread.join().map_err(|_| anyhow::anyhow!("panicked"))??);
        Ok(Self { front, idle })
    }

    fn spawn(front: SocketAddr, stop: &Arc<AtomicBool>) -> JoinHandle<Result<Vec<Duration>>> {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || watch(front, &stop))
    }

    /// While `attack` runs every request is answered, and 99 of 100 within twice the idle time and a floor.
    pub(crate) fn during<T>(&self, attack: impl FnOnce() -> Result<T>) -> Result<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = Self::spawn(self.front, &stop);
        let start = clock::now();
        let done = attack();
        clock::pass(LEAST.saturating_sub(start.elapsed()));
        stop.store(true, Ordering::Relaxed);
        let times = thread.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        let (count, busy) = (times.len(), p99(times));
        let allowed = self.idle * 2 + floor();
        ensure!(busy <= allowed, "p99 of {count} requests is {busy:?}; idle {:?}, allowed {allowed:?}", self.idle);
        done
    }
}
