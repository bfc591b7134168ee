//! The kernel's half loads, and takes what is published. Needs root.

use lb_dataplane::ebpf::{LoadOptions, Loaded, Publisher};
use lb_dataplane::{Change, Condition, Member, PlanePool};
use lb_model::{Algorithm, BackendAddress, Name, Service, Weight};

fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

fn member(last: u8) -> Member {
    let ip = std::net::IpAddr::from([10, 0, 0, last]);
    Member {
        configured: BackendAddress::Ip { ip, port: Some(80) },
        ip,
        port: Some(80),
        weight: Weight::ONE,
        eligible: true,
        condition: Condition::Up,
    }
}

fn pool(n: u8) -> PlanePool {
    PlanePool {
        name: name("web"),
        algorithm: Algorithm::Maglev,
        maglev_table_size: 65_537,
        members: (1..=n).map(member).collect(),
    }
}

fn loaded() -> Loaded {
    assert!(nix::unistd::geteuid().is_root(), "this test loads eBPF programs: run it as root");
    Loaded::load(&LoadOptions { flow_table_size: 10_000, ..LoadOptions::default() }).expect("the object loads")
}

#[test]
fn what_is_published_stands_in_the_maps() {
    let loaded = loaded();
    assert!(loaded.maps.memory_bytes > 1_000_000, "{}", loaded.maps.memory_bytes);
    let mut p = Publisher::new(loaded.maps, &[]);
    let mut service = Service::new(name("web"), "192.0.2.1:80-82/tcp".parse().expect("a listen"), name("web"));
    service.allow = vec!["10.0.0.0/8".parse().expect("a prefix")];
    p.apply(&Change::PutPool(pool(3))).expect("the pool");
    p.apply(&Change::PutService(service.clone())).expect("the service");
    assert_eq!(p.maps.services4.keys().count(), 3);
    assert_eq!(p.maps.ranges.keys().count(), 2);
    let table = lb_dataplane::ebpf::tables::read(&p.maps, 1).expect("the table");
    assert_eq!((table.len(), table[0]), (65_538, 65_537));
    assert_eq!(p.maps.addresses.iter().count(), 1);

    service.listen = "192.0.2.2:82/tcp".parse().expect("a listen");
    service.allow.clear();
    p.apply(&Change::PutService(service)).expect("the service");
    p.apply(&Change::PutPool(pool(2))).expect("the pool");
    assert_eq!(p.maps.services4.keys().count(), 1);
    assert_eq!(p.maps.ranges.keys().count(), 0);
    assert_eq!(p.maps.addresses.iter().count(), 1);
    assert!(p.exists(2) && !p.exists(3));
    p.apply(&Change::RemoveService(name("web"))).expect("removed");
    p.apply(&Change::RemovePool(name("web"))).expect("removed");
    assert_eq!(p.maps.services4.keys().count() + p.maps.addresses.iter().count(), 0);
    assert!(!p.exists(1));
}

#[test]
fn a_packet_of_nobody_passes() {
    let loaded = loaded();
    let frame = [0u8; 60];
    let outcome = loaded.run(&frame, None).expect("a run");
    assert_eq!((outcome.action, &outcome.packet[..]), (2, &frame[..]), "XDP_PASS, unchanged");
}
