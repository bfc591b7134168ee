//! Which backend, and what happens to flows when backends, pools and services change: the userspace engine's TCP half.

mod stand;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lb_common::reason::Reason;
use lb_dataplane::plan::Ends;
use lb_dataplane::{Change, Condition, DataPlane, PlaneError, Probe};
use lb_model::{Affinity, Algorithm, Forward, PortRange, Protocol, RateLimit, Weight};
use stand::{Backend, Stand, V4, V6, echo, eventually, free_port, name, name_of, named, now, patient};

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|b| b.address).collect()
}

fn speaks(s: &mut TcpStream) -> bool {
    s.write_all(b"x").and_then(|()| s.read_exact(&mut [0; 1])).is_ok()
}

fn is_reset(s: &mut TcpStream) -> bool {
    matches!(s.read(&mut [0; 1]), Err(e) if e.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn every_algorithm_spreads_by_weight() {
    let backends = [named(V4), named(V4), named(V4)];
    for algorithm in Algorithm::ALL {
        let mut stand = Stand::new(Protocol::Tcp, V4, algorithm, &addresses(&backends));
        stand.members(|m| m[0].weight = Weight::new(2).expect("a weight"));
        let held: Vec<TcpStream> = (0..120).map(|_| stand.connect()).collect();
        let total = || backends.iter().map(|b| stand.backend(b.address).flows_total).sum::<u64>();
        eventually("all are connected", || total() == 120 && stand.active() == 120);
        let share = |i: usize| stand.backend(backends[i].address).active_flows;
        let shares = [share(0), share(1), share(2)];
        match algorithm {
            Algorithm::RoundRobin => assert_eq!(shares, [40, 40, 40]),
            Algorithm::WeightedRoundRobin | Algorithm::LeastConnections => assert_eq!(shares, [60, 30, 30]),
            Algorithm::SourceHash => assert!(shares.contains(&120), "{shares:?}: one client, one backend"),
            Algorithm::Maglev | Algorithm::Random => {
                assert!((35..=85).contains(&shares[0]) && shares[1] > 10 && shares[2] > 10, "{algorithm}: {shares:?}");
            }
        }
        drop(held);
    }
}

#[test]
fn a_refusing_backend_is_passed_over() {
    let nobody: SocketAddr = format!("127.0.0.1:{}", free_port(V4)).parse().expect("an address");
    let b = named(V4);
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::RoundRobin, &[nobody, b.address]);
    for _ in 0..10 {
        assert_eq!(name_of(&mut stand.connect()).expect("served"), b.address.port());
    }
    assert_eq!(stand.backend(nobody).flows_total, 0);
    assert_eq!(stand.dropped(Reason::ConnectFailed), 0);
}

#[test]
fn nobody_left_is_a_counted_reset() {
    let nobody: SocketAddr = format!("127.0.0.1:{}", free_port(V4)).parse().expect("an address");
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[nobody]);
    assert!(is_reset(&mut stand.connect()));
    assert_eq!(stand.dropped(Reason::ConnectFailed), 1);
    stand.members(|m| m[0].eligible = false);
    assert!(is_reset(&mut stand.connect()));
    assert_eq!(stand.dropped(Reason::NoBackend), 1);
    assert_eq!(stand.active(), 0);
}

#[test]
fn draining_lets_flows_be_and_expiry_resets_them() {
    let backends = [echo(V4), echo(V4)];
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::RoundRobin, &addresses(&backends));
    let mut held: Vec<TcpStream> = (0..6).map(|_| stand.connect()).collect();
    assert!(held.iter_mut().all(speaks));
    let first = |s: &Stand| s.backend(backends[0].address).active_flows;
    assert_eq!(first(&stand), 3);

    stand.members(|m| m[0].eligible = false);
    assert!(held.iter_mut().all(speaks), "a draining backend keeps its flows");
    let mut more: Vec<TcpStream> = (0..4).map(|_| stand.connect()).collect();
    assert!(more.iter_mut().all(speaks));
    assert_eq!(first(&stand), 3, "and gets no new ones");

    stand.members(|m| m[0].condition = Condition::Down);
    assert!(held.iter_mut().all(speaks), "an unhealthy backend's TCP flows are left alone");

    stand.members(|m| m[0].condition = Condition::Expired);
    eventually("expired flows end", || first(&stand) == 0);
    let kinds: Vec<ErrorKind> = held
        .iter_mut()
        .filter_map(|s| s.write_all(b"x").and_then(|()| s.read_exact(&mut [0; 1])).err())
        .map(|e| e.kind())
        .collect();
    assert_eq!(kinds, [ErrorKind::ConnectionReset; 3], "those of the expired backend and no others");
    assert!(more.iter_mut().all(speaks));
}

#[test]
fn a_removed_backends_flows_are_reset_and_a_new_weight_moves_none() {
    let backends = [echo(V4), echo(V4)];
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &addresses(&backends));
    let mut held: Vec<TcpStream> = (0..20).map(|_| stand.connect()).collect();
    assert!(held.iter_mut().all(speaks));
    let before = stand.backend(backends[1].address);
    stand.members(|m| m[0].weight = Weight::new(1000).expect("a weight"));
    assert!(held.iter_mut().all(speaks));
    assert_eq!(stand.backend(backends[1].address).active_flows, before.active_flows);
    stand.members(|m| drop(m.remove(0)));
    eventually("its flows end", || stand.active() == before.active_flows);
    let alive = held.iter_mut().filter_map(|s| speaks(s).then_some(())).count() as u64;
    assert_eq!(alive, before.active_flows);
}

#[test]
fn an_idle_connection_ends() {
    let b = echo(V4);
    let edit = |s: &mut lb_model::Service| s.idle_timeout = Duration::from_millis(600);
    let stand = Stand::with(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address], edit);
    let (mut idle, mut busy) = (stand.connect(), stand.connect());
    assert!(speaks(&mut idle));
    let begun = now();
    let mut ended = None;
    idle.set_read_timeout(Some(Duration::from_millis(50))).expect("an option");
    while ended.is_none() && begun.elapsed() < Duration::from_secs(5) {
        assert!(speaks(&mut busy), "a busy connection stays");
        if let Ok(0) = idle.read(&mut [0; 1]) {
            ended = Some(begun.elapsed());
        }
    }
    let ended = ended.expect("the idle connection ended");
    assert!(ended >= Duration::from_millis(450), "{ended:?} is before its time");
}

#[test]
fn a_removed_service_closes_and_its_connections_drain() {
    let b = echo(V4);
    let edit = |s: &mut lb_model::Service| s.drain_timeout = Duration::from_millis(700);
    let mut stand = Stand::with(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address], edit);
    let mut held = stand.connect();
    assert!(speaks(&mut held));
    let changes = [Change::RemoveService(name("s")), Change::RemovePool(name("p"))];
    stand.plane.apply(&changes).expect("removed");
    let refused = TcpStream::connect(stand.vip).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(speaks(&mut held), "what is open goes on");
    assert!(is_reset(&mut held), "until the drain timeout");
    stand.plane.apply(&[Change::PutPool(stand.pool.clone()), Change::PutService(stand.service.clone())]).expect("back");
    assert!(speaks(&mut stand.connect()));
}

#[test]
fn ranges_and_rates_are_kept() {
    let b = named(V4);
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let put = |stand: &mut Stand, edit: &dyn Fn(&mut lb_model::Service)| {
        edit(&mut stand.service);
        stand.plane.apply(&[Change::PutService(stand.service.clone())]).expect("put");
    };
    put(&mut stand, &|s| s.deny = vec!["127.0.0.0/8".parse().expect("a prefix")]);
    assert!(is_reset(&mut stand.connect()));
    assert_eq!(stand.dropped(Reason::Denied), 1);
    put(&mut stand, &|s| {
        s.deny = vec!["127.0.0.2".parse().expect("a prefix")];
        s.allow = vec!["127.0.0.0/24".parse().expect("a prefix")];
    });
    assert!(name_of(&mut stand.connect()).is_ok());
    put(&mut stand, &|s| s.rate_limit = Some(RateLimit { interval: Duration::from_secs(60), burst: 3 }));
    let served = (0..5).filter(|_| name_of(&mut stand.connect()).is_ok()).count();
    assert_eq!((served, stand.dropped(Reason::RateLimited)), (3, 2));
}

#[test]
fn affinity_holds_a_client_while_its_backend_takes_flows() {
    let backends = [named(V4), named(V4), named(V4)];
    let edit = |s: &mut lb_model::Service| s.affinity = Affinity::ClientIp { timeout: Duration::from_secs(60) };
    let mut stand = Stand::with(Protocol::Tcp, V4, Algorithm::RoundRobin, &addresses(&backends), edit);
    // At once, before any of them is connected: all of one client.
    let mut crowd: Vec<TcpStream> = (0..8).map(|_| stand.connect()).collect();
    let first = name_of(&mut crowd[0]).expect("served");
    assert!(crowd[1..].iter_mut().all(|s| name_of(s).ok() == Some(first)));
    assert!((0..10).all(|_| name_of(&mut stand.connect()).ok() == Some(first)));
    let at = backends.iter().position(|b| b.address.port() == first).expect("one of them");
    stand.members(|m| m[at].eligible = false);
    let second = name_of(&mut stand.connect()).expect("served");
    assert_ne!(second, first);
    assert!((0..10).all(|_| name_of(&mut stand.connect()).ok() == Some(second)));
}

#[test]
fn a_listen_that_cannot_be_had_changes_nothing() {
    let b = named(V4);
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let taken = TcpListener::bind((V4, 0)).expect("somebody else");
    let mut moved = stand.service.clone();
    moved.listen.ports = PortRange::single(taken.local_addr().expect("an address").port()).expect("a port");
    let e = stand.plane.apply(&[Change::PutService(moved)]).expect_err("the port is taken");
    assert!(matches!(&e, PlaneError::Listen { why, .. } if why.contains("another process")), "{e}");
    assert!(name_of(&mut stand.connect()).is_ok(), "the old address is still served");
}

#[test]
fn a_service_moves_to_another_port_range() {
    let b = named(V4);
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut held = stand.connect();
    name_of(&mut held).expect("served");
    let mut moved = stand.service.clone();
    let free = |p: &u16| (0..3).all(|k| TcpListener::bind((V4, p + k)).is_ok());
    let first = (21_000..22_000).step_by(3).find(free).expect("three ports");
    moved.listen.ports = PortRange::new(first, first + 2).expect("ports");
    stand.plane.apply(&[Change::PutService(moved)]).expect("put");
    assert!(TcpStream::connect(stand.vip).is_err(), "the old port is closed");
    for port in first..=first + 2 {
        let mut s = patient(TcpStream::connect((V4, port)).expect("every port is served"));
        assert_eq!(name_of(&mut s).expect("served"), b.address.port());
    }
    held.write_all(b"x").expect("what came by the old port goes on");
}

#[test]
fn dsr_is_refused_by_name() {
    let b = named(V4);
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut dsr = stand.service.clone();
    dsr.forward = Forward::Dsr;
    let e = stand.plane.supports(&dsr).expect_err("not in user space");
    assert!(matches!(&e, PlaneError::Unsupported { service, what } if *service == name("s") && what.contains("dsr")));
    assert!(stand.plane.apply(&[Change::PutService(dsr)]).is_err());
    assert!(name_of(&mut stand.connect()).is_ok());
}

#[test]
fn explain_says_what_then_happens() {
    for (ip, algorithm) in [(V4, Algorithm::Maglev), (V6, Algorithm::Maglev), (V4, Algorithm::RoundRobin)] {
        let backends = [named(ip), named(ip), named(ip)];
        let stand = Stand::new(Protocol::Tcp, ip, algorithm, &addresses(&backends));
        for _ in 0..12 {
            let socket = socket2::Socket::new(socket2::Domain::for_address(stand.vip), socket2::Type::STREAM, None)
                .expect("a socket");
            let any: SocketAddr = SocketAddr::new(stand.vip.ip(), 0);
            socket.bind(&any.into()).expect("bound");
            let client = socket.local_addr().expect("an address").as_socket().expect("of ours");
            let probe = Probe { ends: Ends { client, vip: stand.vip }, protocol: Protocol::Tcp };
            let told = stand.plane.explain(&probe);
            assert_eq!(told.reason, Reason::Forwarded, "{told:?}");
            assert_eq!(stand.plane.explain(&probe), told, "asking changes nothing");
            socket.connect(&stand.vip.into()).expect("connected");
            let mut s = patient(socket.into());
            let got = name_of(&mut s).expect("served");
            assert_eq!(told.backend.map(|b| b.port()), Some(got), "{told:?}");
            let again = stand.plane.explain(&probe);
            assert!(again.steps.iter().any(|s| s.stage == "flow" && s.decision == "known"), "{again:?}");
        }
    }
}

#[test]
fn explain_names_what_it_refuses() {
    let b = named(V4);
    let mut stand = Stand::with(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address], |s| {
        s.deny = vec!["198.51.100.0/24".parse().expect("a prefix")];
    });
    let ask = |stand: &Stand, client: &str, port: u16| {
        let vip = SocketAddr::new(stand.vip.ip(), port);
        let ends = Ends { client: client.parse().expect("an address"), vip };
        stand.plane.explain(&Probe { ends, protocol: Protocol::Tcp }).reason
    };
    let port = stand.vip.port();
    assert_eq!(ask(&stand, "198.51.100.7:1", port), Reason::Denied);
    assert_eq!(ask(&stand, "192.0.2.7:1", port), Reason::Forwarded);
    assert_eq!(ask(&stand, "192.0.2.7:1", port.wrapping_add(1)), Reason::NotOurs);
    stand.members(|m| m.clear());
    assert_eq!(ask(&stand, "192.0.2.7:1", port), Reason::NoBackend);
    assert_eq!(stand.dropped(Reason::Denied), 0, "explaining counts nothing");
}

/// `snat_addresses` are where backends see connections and datagrams come from.
#[test]
fn backends_see_the_addresses_of_nat() {
    let (tell, told) = std::sync::mpsc::channel();
    let b = stand::backend(V4, move |s| tell.send(s.peer_addr().expect("a peer").ip()).expect("the test listens"));
    let udp = std::net::UdpSocket::bind((V4, 0)).expect("a backend's socket");
    let addresses = ["127.0.0.5", "127.0.0.6"].map(|a| a.parse().expect("an address"));
    let host = lb_model::Host { snat_addresses: addresses.to_vec(), ..lb_model::Host::default() };
    let mut plane = lb_dataplane::user::UserPlane::with_workers(&host, 1).expect("an engine");
    for (protocol, backend) in [(Protocol::Tcp, b.address), (Protocol::Udp, udp.local_addr().expect("an address"))] {
        let mut stand = Stand::new(protocol, V4, Algorithm::RoundRobin, &[backend]);
        stand.plane.apply(&[Change::RemoveService(name("s"))]).expect("removed");
        plane.apply(&[Change::PutPool(stand.pool.clone()), Change::PutService(stand.service.clone())]).expect("put");
        let mut seen: Vec<std::net::IpAddr> = Vec::new();
        for _ in 0..2 {
            if protocol == Protocol::Tcp {
                drop(stand.connect());
                seen.push(told.recv_timeout(Duration::from_secs(10)).expect("a connection"));
            } else {
                stand::udp_client(stand.vip).send(b"x").expect("sent");
                seen.push(udp.recv_from(&mut [0; 9]).expect("a datagram").1.ip());
            }
        }
        seen.sort();
        assert_eq!(seen, addresses, "{protocol}");
    }
    let host = lb_model::Host { snat_addresses: vec!["198.51.100.1".parse().expect("an address")], ..host };
    let e = lb_dataplane::user::UserPlane::with_workers(&host, 1).expect_err("not an address of this host");
    assert!(e.to_string().contains("snat_addresses: 198.51.100.1"), "{e}");
}

#[test]
fn a_full_table_refuses_and_counts() {
    let b = echo(V4);
    let mut stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let host = lb_model::Host { flow_table_size: 8, ..lb_model::Host::default() };
    let mut small = lb_dataplane::user::UserPlane::with_workers(&host, 1).expect("an engine");
    stand.plane.apply(&[Change::RemoveService(name("s"))]).expect("removed");
    small.apply(&[Change::PutPool(stand.pool.clone()), Change::PutService(stand.service.clone())]).expect("put");
    let mut held: Vec<TcpStream> = (0..8).map(|_| stand.connect()).collect();
    assert!(held.iter_mut().all(speaks));
    assert!(is_reset(&mut stand.connect()));
    let counters = small.counters();
    assert_eq!((counters.flows, counters.flow_capacity), (8, 8));
    assert_eq!(counters.services[&name("s")].dropped[&Reason::FlowTableFull], 1);
    assert!(held.iter_mut().all(speaks), "nobody established is evicted");
}
