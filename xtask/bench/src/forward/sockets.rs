//! Connections and bytes a second, made with sockets: the kernel's paths in one lab, the proxies in another.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::daemon::Engine;
use lb_tests::lab::{Lab, Topology};
use serde_json::Value;

use super::load::{Backend, Kind, Load};
use super::target::{PORT, Running, Target};
use super::{Cpus, Series, Unit, show};
use crate::cpu;

const BACKENDS: usize = 4;
const WARM: Duration = Duration::from_millis(500);
const TIME: Duration = Duration::from_secs(2);
const CONNECTIONS: Unit = Unit { rate: "thousand connections/s", per: 1e-3, cost: "µs/connection", cost_per: 1e6 };
const BYTES: Unit = Unit { rate: "Gbit/s", per: 8e-9, cost: "ms/GB", cost_per: 1e3 * 1e9 };

/// New connections a second where packets stay packets: XDP, generic XDP and nftables, with checksums and segments made in
/// software, as the XDP program must have them.
pub(crate) fn kernel_paths(rounds: u32, cpus: Cpus) -> Result<Value> {
    let targets = [
        Target::Direct,
        Target::Lb(Engine::Xdp),
        Target::Lb(Engine::XdpGeneric),
        Target::Lb(Engine::Userspace),
        Target::Nftables,
    ];
    let bench = Bench::new(cpus, false)?;
    let series = bench.rounds(&targets, rounds, Kind::Connections)?;
    println!(
        "\nThe generator and the backends share one CPU; where a target comes near \"no balancer\", they are the limit."
    );
    Ok(show(
        "New TCP connections by data plane (connect, one byte each way, close)",
        &series,
        &CONNECTIONS,
        "nftables DNAT",
    ))
}

/// The userspace engine beside other proxies: connections, then bytes; offloads on, as they would be.
pub(crate) fn proxies(rounds: u32, cpus: Cpus) -> Result<(Value, Value)> {
    let targets = [Target::Direct, Target::Lb(Engine::Userspace), Target::Haproxy, Target::Nginx];
    let bench = Bench::new(cpus, true)?;
    let connections = bench.rounds(&targets, rounds, Kind::Connections)?;
    let connections = show("New TCP connections through a proxy", &connections, &CONNECTIONS, "HAProxy (mode tcp)");
    let bytes = bench.rounds(&targets, rounds, Kind::Bytes)?;
    let bytes = show("Bytes through a proxy (8 streams)", &bytes, &BYTES, "HAProxy (mode tcp)");
    Ok((connections, bytes))
}

struct Bench {
    lab: Lab,
    _backends: Vec<Backend>,
    dir: tempfile::TempDir,
    cpus: Cpus,
}

impl Bench {
    fn new(cpus: Cpus, offloads: bool) -> Result<Self> {
        let lab = Lab::new(Topology::OneArmed, BACKENDS)?;
        for host in lab.hosts().filter(|h| h.name() != "net") {
            // What a server under such a load is given.
            for setting in ["net.ipv4.tcp_max_tw_buckets=8192", "net.core.somaxconn=4096", "net.ipv4.tcp_tw_reuse=1"] {
                host.run("sysctl", &["-qw", setting])?;
            }
            if offloads {
                host.run("ethtool", &["-K", "eth0", "tx", "on", "tso", "on", "gso", "on", "gro", "on"])?;
            }
        }
        if offloads {
            // The pass-all program on the far end stands in the way of large segments, and no XDP is used here.
            lab.net().run("ip", &["link", "set", "dev", "p-lb", "xdpdrv", "off"])?;
        }
        let backends = lab.backends().iter().enumerate().map(|(i, host)| {
            let at = std::net::SocketAddr::new(
                lb_tests::lab::addresses::backend(i, lb_tests::lab::addresses::Family::V4),
                PORT,
            );
            Backend::start(host, at, cpus.others)
        });
        let backends = backends.collect::<Result<Vec<_>>>()?;
        let dir = tempfile::Builder::new().prefix("lb-bench").tempdir()?;
        Ok(Self { lab, _backends: backends, dir, cpus })
    }

    fn rounds(&self, targets: &[Target], rounds: u32, kind: Kind) -> Result<Vec<Series>> {
        let mut series: Vec<Series> = targets.iter().map(|t| Series::new(t.name())).collect();
        // Every run has sources of its own, so that no connection meets an earlier one's remains.
        let mut first = 1;
        for round in 1..=rounds {
            for (target, s) in targets.iter().zip(&mut series) {
                eprint!("\r{kind:?}: round {round} of {rounds}, {:<20}", target.name());
                self.sample(*target, kind, first, s).with_context(|| format!("{} ({kind:?})", target.name()))?;
                first += 200_000;
            }
        }
        eprintln!("\r{:60}", "");
        Ok(series)
    }

    fn sample(&self, target: Target, kind: Kind, first: u32, series: &mut Series) -> Result<()> {
        let running = Running::start(target, &self.lab, self.dir.path(), self.cpus.balancer, "tcp")?;
        let load = Load {
            host: self.lab.client(),
            to: target.addresses(&self.lab),
            kind,
            first,
            cpu: self.cpus.others,
            warm: WARM,
            time: TIME,
        };
        let pid = running.pid();
        let used = || Ok((pid.map_or(Ok(0.0), cpu::of_process)?, cpu::of_cpu(self.cpus.balancer)?));
        let (done, before, after) = load.run(used)?;
        running.stop(&self.lab)?;
        let per = |seconds: f64| seconds / done.count as f64;
        series.rate.push(done.count as f64 / done.seconds);
        if pid.is_some() {
            series.process.push(per(after.0 - before.0));
        }
        series.cpu.push(per(after.1 - before.1));
        series.failed += done.failed;
        Ok(())
    }
}
