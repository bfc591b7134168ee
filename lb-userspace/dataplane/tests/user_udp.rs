//! UDP through the userspace engine over loopback: sessions, answers from the VIP, expiry and rescheduling.

mod stand;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_common::reason::Reason;
use lb_dataplane::{Change, Condition, DataPlane, FlowQuery, PlaneError};
use lb_model::{Algorithm, PortRange, Protocol, Weight};
use stand::{Stand, V4, V6, ask, eventually, free_port, name, udp_client, udp_named};

#[test]
fn answers_come_from_the_vip_intact() {
    for ip in [V4, V6] {
        let b = udp_named(ip);
        let stand = Stand::new(Protocol::Udp, ip, Algorithm::Maglev, &[b]);
        let client = udp_client(stand.vip);
        for n in [0, 1, 1_400, 9_000, 60_000] {
            let body: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
            let (port, back) = ask(&client, &body).expect("answered from the address that was asked");
            assert_eq!(port, b.port());
            assert!(back == body, "{n} bytes");
        }
        let headers = if ip == V4 { 28 } else { 48 };
        let c = stand.backend(b);
        assert_eq!((c.flows_total, c.active_flows, c.packets), (1, 1, 5));
        assert_eq!(c.bytes, 1 + 1_400 + 9_000 + 60_000 + 5 * headers);
    }
}

#[test]
fn a_client_stays_and_clients_are_spread() {
    let backends = [udp_named(V4), udp_named(V4)];
    for algorithm in Algorithm::ALL {
        let mut stand = Stand::new(Protocol::Udp, V4, algorithm, &backends);
        stand.members(|m| m[0].weight = Weight::new(3).expect("a weight"));
        let mut counts = [0, 0];
        let clients: Vec<UdpSocket> = (0..80).map(|_| udp_client(stand.vip)).collect();
        for c in &clients {
            let (port, _) = ask(c, b"a").expect("answered");
            assert!((0..3).all(|_| ask(c, b"b").is_ok_and(|(p, _)| p == port)), "a session keeps its backend");
            counts[usize::from(port == backends[1].port())] += 1;
        }
        match algorithm {
            Algorithm::RoundRobin => assert_eq!(counts, [40, 40]),
            Algorithm::WeightedRoundRobin | Algorithm::LeastConnections => assert_eq!(counts, [60, 20]),
            Algorithm::SourceHash => assert!(counts.contains(&80)),
            Algorithm::Maglev | Algorithm::Random => assert!((40..=75).contains(&counts[0]), "{algorithm} {counts:?}"),
        }
        assert_eq!(stand.active(), 80);
    }
}

#[test]
fn bursts_arrive_whole() {
    let b = udp_named(V4);
    let stand = Stand::new(Protocol::Udp, V4, Algorithm::Maglev, &[b]);
    let client = udp_client(stand.vip);
    for round in 0..20u8 {
        for i in 0..50u8 {
            client.send(&[round, i]).expect("sent");
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut buffer = [0; 16];
            let n = client.recv(&mut buffer).expect("all are answered");
            assert_eq!((n, buffer[2]), (4, round));
            seen.insert(buffer[3]);
        }
        assert_eq!(seen.len(), 50);
    }
}

#[test]
fn draining_keeps_sessions_and_expiry_moves_them() {
    let backends = [udp_named(V4), udp_named(V4)];
    let mut stand = Stand::new(Protocol::Udp, V4, Algorithm::RoundRobin, &backends);
    let clients: Vec<UdpSocket> = (0..10).map(|_| udp_client(stand.vip)).collect();
    let ports =
        |clients: &[UdpSocket]| -> Vec<u16> { clients.iter().map(|c| ask(c, b"x").expect("answered").0).collect() };
    let before = ports(&clients);
    stand.members(|m| m[0].eligible = false);
    assert_eq!(ports(&clients), before, "draining: everybody stays");
    assert_eq!(ask(&udp_client(stand.vip), b"x").expect("answered").0, backends[1].port(), "nobody comes");

    stand.members(|m| m[0].condition = Condition::Expired);
    eventually("its sessions end", || stand.backend(backends[0]).active_flows == 0);
    assert!(ports(&clients).iter().all(|p| *p == backends[1].port()), "everybody is with the other one");
}

#[test]
fn an_unhealthy_backends_sessions_are_scheduled_anew() {
    let backends = [udp_named(V4), udp_named(V4)];
    let mut stand = Stand::new(Protocol::Udp, V4, Algorithm::RoundRobin, &backends);
    let clients: Vec<UdpSocket> = (0..6).map(|_| udp_client(stand.vip)).collect();
    clients.iter().for_each(|c| drop(ask(c, b"x").expect("answered")));
    stand.members(|m| (m[0].eligible, m[0].condition) = (false, Condition::Down));
    assert!(clients.iter().all(|c| ask(c, b"x").expect("answered").0 == backends[1].port()));
    assert_eq!(stand.backend(backends[0]).active_flows, 0);
    stand.members(|m| (m[1].eligible, m[1].condition) = (false, Condition::Down));
    clients[0].send(b"x").expect("sent");
    eventually("counted", || stand.dropped(Reason::NoBackend) == 1);
}

#[test]
fn idle_sessions_end() {
    let b = udp_named(V4);
    let edit = |s: &mut lb_model::Service| s.idle_timeout = Duration::from_millis(500);
    let stand = Stand::with(Protocol::Udp, V4, Algorithm::Maglev, &[b], edit);
    let client = udp_client(stand.vip);
    ask(&client, b"x").expect("answered");
    ask(&client, b"x").expect("answered");
    let flows = stand.plane.flows(&FlowQuery { service: Some(name("s")), limit: Some(10) });
    assert_eq!(flows.len(), 1);
    assert_eq!(
        (flows[0].client, flows[0].vip, flows[0].backend, flows[0].state),
        (client.local_addr().expect("an address"), stand.vip, b, "established")
    );
    assert_eq!(stand.active(), 1);
    eventually("silent for long enough", || stand.active() == 0);
    assert_eq!(stand.plane.counters().flows, 0);
    ask(&client, b"x").expect("a new session");
    assert_eq!(stand.backend(b).flows_total, 2);
}

#[test]
fn fresh_sessions_make_room_and_answered_ones_stay() {
    let silent = UdpSocket::bind((V4, 0)).expect("never answers");
    let talker = udp_named(V4);
    let host = lb_model::Host { flow_table_size: 20, ..lb_model::Host::default() };
    let mut plane = lb_dataplane::user::UserPlane::with_workers(&host, 1).expect("an engine");
    let mut stand = Stand::new(Protocol::Udp, V4, Algorithm::RoundRobin, &[talker]);
    stand.plane.apply(&[Change::RemoveService(name("s"))]).expect("removed");
    let put = |plane: &mut lb_dataplane::user::UserPlane, stand: &Stand| {
        plane.apply(&[Change::PutPool(stand.pool.clone()), Change::PutService(stand.service.clone())]).expect("put");
    };
    put(&mut plane, &stand);
    let kept: Vec<UdpSocket> = (0..5).map(|_| udp_client(stand.vip)).collect();
    for _ in 0..2 {
        kept.iter().for_each(|c| drop(ask(c, b"x").expect("answered")));
    }
    // From now on nobody answers: the flood makes only fresh sessions.
    stand.pool.members.push(stand::member(silent.local_addr().expect("an address")));
    stand.pool.members[0].eligible = false;
    put(&mut plane, &stand);
    let flood: Vec<UdpSocket> = (0..100).map(|_| udp_client(stand.vip)).collect();
    for c in &flood {
        c.send(b"x").expect("sent");
    }
    eventually("all came through", || plane.counters().services[&name("s")].flows_total == 105);
    assert_eq!(plane.counters().flows, 20);
    assert!(kept.iter().all(|c| ask(c, b"x").is_ok_and(|(p, _)| p == talker.port())), "none of these was evicted");
    assert_eq!(plane.counters().services[&name("s")].flows_total, 105);
}

#[test]
fn a_dead_backend_disturbs_nobody() {
    let nobody: SocketAddr = format!("{V4}:{}", free_port(V4)).parse().expect("an address");
    let b = udp_named(V4);
    let stand = Stand::new(Protocol::Udp, V4, Algorithm::RoundRobin, &[nobody, b]);
    let clients: Vec<UdpSocket> = (0..6).map(|_| udp_client(stand.vip)).collect();
    for c in &clients {
        c.set_read_timeout(Some(Duration::from_millis(200))).expect("an option");
    }
    for _ in 0..5 {
        let answered = clients.iter().filter(|c| ask(c, b"x").is_ok()).count();
        assert_eq!(answered, 3, "the other half talks to nobody");
    }
}

#[test]
fn every_port_of_a_range_answers_from_itself() {
    let b = udp_named(V4);
    let mut stand = Stand::new(Protocol::Udp, V4, Algorithm::Maglev, &[b]);
    let first =
        (20_000..21_000).step_by(4).find(|p| (0..4).all(|k| UdpSocket::bind((V4, p + k)).is_ok())).expect("four ports");
    let mut wide = stand.service.clone();
    wide.listen.ports = PortRange::new(first, first + 3).expect("a range");
    stand.plane.apply(&[Change::PutService(wide)]).expect("put");
    for port in first..first + 4 {
        let client = udp_client(SocketAddr::new(stand.vip.ip(), port));
        assert!(ask(&client, b"x").is_ok(), "{port}");
    }
    let old = udp_client(stand.vip);
    old.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
    assert!(ask(&old, b"x").is_err(), "the old port is closed");
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let b = udp_named(V4);
    let stand = Stand::new(Protocol::Udp, V4, Algorithm::Maglev, &[b]);
    let mut any = stand.service.clone();
    any.listen.address = "0.0.0.0".parse().expect("an address");
    assert!(matches!(stand.plane.supports(&any), Err(PlaneError::Unsupported { .. })));
    let mut proxy = stand.service.clone();
    proxy.send_proxy = Some(lb_model::SendProxy::V2);
    assert!(matches!(stand.plane.supports(&proxy), Err(PlaneError::Unsupported { .. })));
}
