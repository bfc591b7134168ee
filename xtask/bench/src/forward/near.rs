//! The near end of the closed loop: an engine of ours, the kernel's NAT, or a program that only sends back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use lb_dataplane::ebpf::BENCH_OBJECT;
use lb_dataplane::{Change, Condition, DataPlane, Member, PlanePool};
use lb_model::{BackendAddress, Forward, Host, Listen, Name, PlaneChoice, Service, Weight};
use lb_tests::clock;
use lb_tests::lab::Lab;

use super::ring::{End, NEAR};

pub(crate) const BACKENDS: u8 = 100;
const PORT: u16 = 8080;

pub(crate) fn vip() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, 10).into(), PORT)
}
pub(crate) fn backend(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 99, 1, n + 1).into()
}

/// Something at work there.
pub(crate) enum Near {
    Program(Box<Ebpf>),
    /// The engine lives on a thread of its own, inside the namespace.
    Engine {
        stop: mpsc::Sender<()>,
        thread: JoinHandle<Result<()>>,
        _pass: Option<Box<Ebpf>>,
    },
    Rules(Box<Ebpf>),
}

impl Near {
    pub(crate) fn start(end: End, lab: &Lab) -> Result<Self> {
        match end {
            End::Bare => Ok(Self::Program(attach(lab, "floor_tx")?)),
            // Where nothing of XDP is at work, a program that passes everything is: a veth wakes its peer for frames sent
            // by XDP only if the peer has a program.
            End::Nftables => {
                let pass = attach(lab, "bench_pass")?;
                rules(lab)?;
                Ok(Self::Rules(pass))
            }
            End::Lb(PlaneChoice::Userspace, forward) => {
                lab.services_local_to_balancer()?;
                let pass = attach(lab, "bench_pass")?;
                engine(lab, PlaneChoice::Userspace, forward, Some(pass))
            }
            End::Lb(choice, forward) => engine(lab, choice, forward, None),
        }
    }

    pub(crate) fn stop(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Program(program) => drop(program),
            Self::Rules(program) => {
                drop(program);
                lab.balancer().run("nft", &["flush", "ruleset"])?;
            }
            Self::Engine { stop, thread, .. } => {
                let _ = stop.send(());
                thread.join().map_err(|_| anyhow::anyhow!("the engine's thread panicked"))??;
                let _ =
                    lab.balancer().run("ip", &["route", "del", "local", lb_tests::lab::addresses::VIPS4, "dev", "lo"]);
            }
        }
        Ok(())
    }
}

fn attach(lab: &Lab, name: &str) -> Result<Box<Ebpf>> {
    let mut bench = EbpfLoader::new().load(BENCH_OBJECT)?;
    let program: &mut Xdp = bench.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
    program.load()?;
    lab.balancer().inside(|| program.attach(NEAR, XdpMode::Driver).map(drop))??;
    Ok(Box::new(bench))
}

fn engine(lab: &Lab, choice: PlaneChoice, forward: Forward, pass: Option<Box<Ebpf>>) -> Result<Near> {
    let (stop, stopped) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let pins = format!("/sys/fs/bpf/lbt-{}-ring", std::process::id());
    let host =
        Host { interfaces: vec![NEAR.to_owned()], data_plane: choice, pin_dir: pins.clone().into(), ..Host::default() };
    let thread = lab.balancer().start(move || {
        let started = lb_dataplane::start(&host);
        let mut plane = match started.context("the engine does not start").and_then(|s| load(s.plane, forward)) {
            Ok(plane) => plane,
            Err(e) => {
                let _ = tell.send(Err(e));
                return Ok(());
            }
        };
        let beat = |plane: &mut Box<dyn DataPlane>| plane.tick(clock::now());
        // Time to resolve the backends' addresses.
        for _ in 0..20 {
            beat(&mut plane);
            clock::pass(Duration::from_millis(50));
        }
        let _ = tell.send(Ok(()));
        while stopped.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
            beat(&mut plane);
        }
        plane.release(false)?;
        Ok(())
    })?;
    match told.recv_timeout(Duration::from_secs(20)).context("the engine says nothing") {
        Ok(Ok(())) => Ok(Near::Engine { stop, thread, _pass: pass }),
        Ok(Err(e)) | Err(e) => Err(e),
    }
}

fn load(mut plane: Box<dyn DataPlane>, forward: Forward) -> Result<Box<dyn DataPlane>> {
    let name: Name = "ring".parse()?;
    let member = |n: u8| Member {
        configured: BackendAddress::Ip { ip: backend(n), port: Some(PORT) },
        ip: backend(n),
        port: Some(PORT),
        weight: Weight::ONE,
        eligible: true,
        condition: Condition::Up,
    };
    let pool = PlanePool {
        name: name.clone(),
        algorithm: lb_model::Algorithm::Maglev,
        maglev_table_size: 65_537,
        members: (0..BACKENDS).map(member).collect(),
    };
    let listen: Listen = format!("{}/udp", vip()).parse()?;
    let service = Service { forward, ..Service::new(name.clone(), listen, name) };
    plane.apply(&[Change::PutPool(pool), Change::PutService(service)])?;
    Ok(plane)
}

/// Destination NAT by the kernel: the same backends, chosen by a hash.
fn rules(lab: &Lab) -> Result<()> {
    let map: Vec<String> = (0..BACKENDS).map(|n| format!("{n} : {}", backend(n))).collect();
    let text = format!(
        "flush ruleset\ntable ip ring {{\n  chain in {{ type nat hook prerouting priority dstnat;\n    ip daddr {} udp dport \
         {PORT} dnat to jhash ip saddr . udp sport mod {BACKENDS} map {{ {} }}\n  }}\n}}\n",
        vip().ip(),
        map.join(", ")
    );
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    lab.balancer().run("nft", &["-f", file.path().to_str().context("an odd path")?])?;
    // Ever new flows must not fill the kernel's table.
    lab.balancer().run("sysctl", &["-qw", "net.netfilter.nf_conntrack_udp_timeout=1"])?;
    Ok(())
}
