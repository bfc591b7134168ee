//! A flood of SYNs that nobody means, against a small flow table.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use etherparse::PacketBuilder;
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::pulse::Pulse;
use lb_tests::load::spread::Protocol;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};

use crate::scene::{BACKENDS, Scene, service, untouched};

const SYNS: u32 = 100_000;

/// SYNs from addresses that nobody has: 10.79.0.0/16.
fn flood(to: SocketAddr, count: u32) -> Result<()> {
    let SocketAddr::V4(to) = to else { bail!("an IPv4 flood") };
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    let target = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
    let mut packet = Vec::new();
    for n in 0..count {
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 79, 0, 0)) + n % 65_000);
        packet.clear();
        PacketBuilder::ipv4(from.octets(), to.ip().octets(), 64)
            .tcp(1024 + (n / 7 % 60_000) as u16, to.port(), n, 64_000)
            .syn()
            .write(&mut packet, &[])?;
        sendto(raw.as_raw_fd(), &packet, &target, MsgFlags::empty())?;
        // A veth holds 256 frames: faster would lose packets on the wire, which is another test.
        if n % 64 == 63 {
            clock::pass(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Established flows live through a flood 50 times the table's size, and afterwards there is room (and there are source
/// ports) for new ones.
#[test]
fn xdp_syn_flood_evicts_no_established_flow() -> Result<()> {
    let scene = Scene::with(Engine::Xdp, "flow_table_size = 2_000")?;
    for backend in scene.lab.backends() {
        // Their retransmissions would be a second flood, of the wires.
        backend.run("sh", &["-c", "echo 0 > /proc/sys/net/ipv4/tcp_synack_retries"])?;
    }
    // The wires lose packets under a flood, whatever the balancer does: what is lost is sent again.
    let tcp = scene.pulse(Protocol::Tcp)?;
    let udp = Pulse::start_resending(scene.lab.client(), service(), 1_000, 40, Duration::from_millis(40))?;
    let before = total(&scene)?;
    scene.lab.client().inside(|| flood(service(), SYNS))??;
    let arrived = total(&scene)? - before;
    ensure!(arrived > u64::from(SYNS) * 9 / 10, "only {arrived} SYNs arrived as new flows");
    scene.fresh(Protocol::Tcp, 70_000, 500)?;
    scene.fresh(Protocol::Udp, 70_000, 500)?;
    clock::pass(Duration::from_secs(1));
    untouched(&tcp.stop()?, None)?;
    untouched(&udp.stop()?, None)
}

fn total(scene: &Scene) -> Result<u64> {
    (0..BACKENDS).map(|i| scene.number(i, "flows_total")).sum()
}
