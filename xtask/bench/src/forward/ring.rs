//! Packets a second in a closed loop: 192 frames circulate over a veth pair. At the near end is what is measured; at the far
//! end a program replaces every frame by the next flow's and sends it back. No generator is slower than what it measures,
//! and one core carries both ends, so the figures compare with each other and not with a NIC's.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::maps::Array;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::Template;
use lb_dataplane::ebpf::BENCH_OBJECT;
use lb_model::{Forward, PlaneChoice};
use lb_tests::clock;
use lb_tests::lab::{Lab, Topology};
use serde_json::{Value, json};

use super::near::{self, Near};
use super::{Cpus, Series, Unit, show};
use crate::packet::loop_template;
use crate::pin;

pub(crate) const NEAR: &str = "ring0";
pub(crate) const FAR: &str = "ring1";
pub(crate) const NEAR_IP: &str = "10.99.0.1";
const FRAMES: usize = 192;
const WARM: Duration = Duration::from_millis(700);
const TIME: Duration = Duration::from_secs(1);
const UNIT: Unit = Unit { rate: "M packets/s", per: 1e-6, cost: "", cost_per: 0.0 };

/// What stands at the near end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Sends every frame back as it is: the limit.
    Bare,
    Lb(PlaneChoice, Forward),
    Nftables,
}

impl End {
    const ALL: [Self; 6] = [
        Self::Bare,
        Self::Lb(PlaneChoice::Xdp, Forward::Nat),
        Self::Lb(PlaneChoice::Xdp, Forward::Dsr),
        Self::Lb(PlaneChoice::XdpGeneric, Forward::Nat),
        Self::Lb(PlaneChoice::Userspace, Forward::Nat),
        Self::Nftables,
    ];
    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare XDP_TX (the limit)",
            Self::Lb(PlaneChoice::Xdp, Forward::Nat) => "lb xdp, nat",
            Self::Lb(PlaneChoice::Xdp, Forward::Dsr) => "lb xdp, dsr",
            Self::Lb(PlaneChoice::XdpGeneric, _) => "lb xdp-generic, nat",
            Self::Lb(..) => "lb userspace",
            Self::Nftables => "nftables DNAT",
        }
    }
    /// The userspace engine holds a socket a flow: ever more of them are no steady state.
    fn carries(self, flows: u32) -> bool {
        !matches!(self, Self::Lb(PlaneChoice::Userspace, _)) || flows == 64
    }
}

const FLOWS: [(&str, u32); 3] = [("64 flows", 64), ("64 K flows", 65_536), ("all new", 0)];

pub(crate) fn run(rounds: u32, cpus: Cpus) -> Result<Value> {
    let ring = Ring::new(cpus)?;
    let mut series: Vec<Vec<Series>> =
        FLOWS.iter().map(|_| End::ALL.iter().map(|e| Series::new(e.name())).collect()).collect();
    for round in 1..=rounds {
        for (i, end) in End::ALL.into_iter().enumerate() {
            eprint!("\rPackets: round {round} of {rounds}, {:<24}", end.name());
            let rates = ring.measure(end).with_context(|| end.name().to_owned())?;
            for (f, rate) in rates.into_iter().enumerate() {
                series[f][i].rate.extend(rate);
            }
        }
    }
    eprintln!("\r{:60}", "");
    let mut out = Vec::new();
    for ((name, _), series) in FLOWS.iter().zip(&series) {
        let title = format!("UDP over IPv4, 64-byte frames, {name}: {FRAMES} frames in a closed loop on one core");
        out.push(json!({ "flows": name, "result": show(&title, series, &UNIT, "nftables DNAT") }));
    }
    Ok(Value::Array(out))
}

struct Ring {
    lab: Lab,
    cpus: Cpus,
}

impl Ring {
    fn new(cpus: Cpus) -> Result<Self> {
        // The lab's namespaces, with a wire of our own between two of them, without a bridge.
        let lab = Lab::new(Topology::OneArmed, 0)?;
        let (near, far) = (lab.balancer(), lab.client());
        let ip = |host: &lb_tests::lab::Host, line: &str| host.run("ip", &line.split(' ').collect::<Vec<_>>());
        ip(near, &format!("link add {NEAR} type veth peer name {FAR} netns {}", far.netns()))?;
        ip(near, &format!("addr add {NEAR_IP}/16 dev {NEAR}"))?;
        ip(far, &format!("addr add 10.99.0.2/16 dev {FAR}"))?;
        for n in 0..near::BACKENDS {
            ip(far, &format!("addr add {}/16 dev {FAR}", near::backend(n)))?;
        }
        ip(near, &format!("link set {NEAR} up"))?;
        ip(far, &format!("link set {FAR} up"))?;
        ip(far, &format!("route replace {}/32 via {NEAR_IP} dev {FAR}", near::vip().ip()))?;
        far.run("ethtool", &["-K", FAR, "tx", "off"])?;
        near.run("ethtool", &["-K", NEAR, "gro", "on"])?;
        for setting in
            ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.all.accept_local=1"]
        {
            near.run("sysctl", &["-qw", setting])?;
        }
        near.run("sysctl", &["-qw", &format!("net.ipv4.conf.{NEAR}.send_redirects=0")])?;
        Ok(Self { lab, cpus })
    }

    /// Packets a second for each number of flows; `None` where the target does not carry them.
    fn measure(&self, end: End) -> Result<Vec<Option<f64>>> {
        let near = Near::start(end, &self.lab)?;
        let mut far = Far::attach(&self.lab)?;
        let mut rates = Vec::new();
        for (_, flows) in FLOWS {
            let carries = end.carries(flows);
            rates.push(if carries { self.sample(&mut far, flows)? } else { None });
        }
        drop(far);
        near.stop(&self.lab)?;
        Ok(rates)
    }

    fn sample(&self, far: &mut Far, flows: u32) -> Result<Option<f64>> {
        far.template(flows, &self.lab)?;
        self.inject()?;
        clock::pass(WARM);
        let (start, before) = (clock::now(), far.count()?);
        clock::pass(TIME);
        let (seconds, after) = (start.elapsed().as_secs_f64(), far.count()?);
        // Fewer than that is a loop that has lost its frames.
        Ok(Some((after - before) as f64 / seconds).filter(|rate| *rate > 1000.0))
    }

    /// Datagrams to the service, which the far end turns into the loop's frames on their first return.
    fn inject(&self) -> Result<()> {
        let cpu = self.cpus.balancer;
        self.lab.client().inside(move || {
            pin::to(cpu)?;
            let socket = UdpSocket::bind("10.99.0.2:0")?;
            for n in 0..FRAMES {
                socket.send_to(&[0x61; 22], near::vip())?;
                if n % 32 == 31 {
                    clock::pass(Duration::from_millis(1));
                }
            }
            Ok(())
        })?
    }
}

/// The far end: the reflector on its interface. It goes with this value, and the frames with it.
struct Far {
    bench: Ebpf,
}

impl Far {
    fn attach(lab: &Lab) -> Result<Self> {
        if BENCH_OBJECT.is_empty() {
            bail!("this was built without the eBPF toolchain: run `cargo xtask setup`");
        }
        let mut bench = EbpfLoader::new().load(BENCH_OBJECT)?;
        let reflect: &mut Xdp = bench.program_mut("bench_reflect").context("no program bench_reflect")?.try_into()?;
        reflect.load()?;
        lab.client().inside(|| reflect.attach(FAR, XdpMode::Driver).map(drop))??;
        Ok(Self { bench })
    }
    fn template(&mut self, flows: u32, lab: &Lab) -> Result<()> {
        let template = loop_template(flows, near::vip(), mac(lab.client(), FAR)?, mac(lab.balancer(), NEAR)?)?;
        let mut map: Array<_, Template> = Array::try_from(self.bench.map_mut("TEMPLATE").context("no map TEMPLATE")?)?;
        Ok(map.set(0, template, 0)?)
    }
    fn count(&self) -> Result<u64> {
        let map: Array<_, u64> = Array::try_from(self.bench.map("COUNTER").context("no map COUNTER")?)?;
        Ok(map.get(&0, 0)?)
    }
}

fn mac(host: &lb_tests::lab::Host, device: &str) -> Result<[u8; 6]> {
    let line = host.run("ip", &["-o", "link", "show", "dev", device])?;
    let text = line.split_whitespace().skip_while(|w| *w != "link/ether").nth(1).unwrap_or_default();
    let bytes: Vec<u8> = text.split(':').filter_map(|b| u8::from_str_radix(b, 16).ok()).collect();
    bytes.try_into().ok().with_context(|| format!("no MAC address of {device}: {line}"))
}
