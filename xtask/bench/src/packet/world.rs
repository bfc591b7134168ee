//! The tables that the measured packets meet: a service for every line, a hundred backends, a table of the usual size.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use lb_common::backend::{Backend, flag as backend_flag};
use lb_common::maglev::{self, Member};
use lb_common::maps::Link;
use lb_common::net::{Addr, Be16, proto};
use lb_common::pool::DEFAULT_MAGLEV_SIZE;
use lb_common::service::{Service, ServiceKey4, ServiceKey6, address, algorithm, flag, forward};
use lb_common::time::ticks_of_millis;
use lb_dataplane::ebpf::{Maps, tables};

use super::Case;
use super::template::Family;

pub(crate) const BACKENDS: u32 = 100;
pub(crate) const TABLE: u32 = DEFAULT_MAGLEV_SIZE;
/// Test runs come in on loopback, and backends are behind the same interface: the verdict is `XDP_TX`.
const LOOPBACK: u32 = 1;
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Where the rotation of client ports begins; it adds up to 2¹⁴.
pub(crate) const CLIENT_PORT: u16 = 10_000;
pub(crate) const NEW_CLIENT_PORT: u16 = 30_000;
const BACKEND_PORT: u16 = 8080;

pub(crate) fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 10).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into(),
    }
}

/// The first client; ever new flows have clients of their own.
pub(crate) fn client(family: Family, new: bool) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(if new { 20 } else { 10 }, 0, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, u16::from(new), 1, 0, 0, 0x1000, 1).into(),
    }
}

fn snat(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(172, 16, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1).into(),
    }
}

fn backend_ip(family: Family, n: u32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(172, 16, 1, n as u8).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, n as u16).into(),
    }
}

/// The port of a case's service: one of its own for each way of forwarding.
pub(crate) const fn port(case: &Case) -> u16 {
    if case.forward == forward::NAT { 80 } else { 81 }
}

const fn pool(case: &Case) -> u32 {
    1 + (case.forward == forward::DSR) as u32 + 2 * matches!(case.family, Family::V6) as u32
}

/// The number of a case's service; cases that differ in their flows only share it.
pub(crate) const fn service(case: &Case) -> u32 {
    pool(case) + 4 * (case.protocol == proto::UDP) as u32
}

pub(crate) fn publish(maps: &mut Maps, cases: &[Case]) -> Result<()> {
    maps.links.insert(LOOPBACK, Link { mac: OUR_MAC, reserved: 0 }, 0)?;
    for (i, family) in [Family::V4, Family::V6].into_iter().enumerate() {
        let addr = Addr::from(snat(family));
        maps.snat.set(i as u32, addr, 0)?;
        maps.addresses.insert(addr, address::SNAT, 0)?;
        maps.addresses.insert(Addr::from(vip(family)), address::VIP, 0)?;
    }
    for case in cases {
        publish_pool(maps, case)?;
        publish_service(maps, case)?;
    }
    Ok(())
}

fn publish_pool(maps: &mut Maps, case: &Case) -> Result<()> {
    let first = (pool(case) - 1) * BACKENDS + 1;
    for n in 0..BACKENDS {
        let value = Backend {
            addr: Addr::from(backend_ip(case.family, n + 1)),
            port: Be16::from_host(if case.forward == forward::NAT { BACKEND_PORT } else { 0 }),
            weight: 1,
            ifindex: LOOPBACK,
            dst_mac: [2, 0, 0, 1, 0, n as u8],
            src_mac: OUR_MAC,
            flags: backend_flag::EXISTS | backend_flag::ELIGIBLE | backend_flag::REACHABLE,
            snat_first: u16::from(case.family == Family::V6),
            snat_count: 1,
            mtu: 1500,
        };
        maps.backends.set(first + n, value, 0)?;
    }
    let identity = |n| maglev::identity(backend_ip(case.family, n + 1).to_string().as_bytes());
    let members: Vec<Member> = (0..BACKENDS).map(|n| Member { identity: identity(n), weight: 1 }).collect();
    let slots = maglev::table(&members, TABLE);
    let mut words = vec![u32::try_from(slots.len())?];
    words.extend(slots.iter().map(|slot| first + slot));
    tables::publish(maps, pool(case), &words)?;
    Ok(())
}

fn publish_service(maps: &mut Maps, case: &Case) -> Result<()> {
    let addr = Addr::from(vip(case.family));
    let port = Be16::from_host(port(case));
    let value = Service {
        vip: addr,
        rate_interval_ns: 0,
        rate_tolerance_ns: 0,
        pool: pool(case),
        idle_timeout: ticks_of_millis(300_000),
        affinity_timeout: ticks_of_millis(300_000),
        port_first: port,
        port_last: port,
        protocol: case.protocol,
        forward: case.forward,
        algorithm: algorithm::MAGLEV,
        flags: flag::TRACKED,
        mss: 0,
        reserved: 0,
    };
    let number = service(case);
    maps.service.set(number, value, 0)?;
    let protocol = u16::from(case.protocol);
    match case.family {
        Family::V4 => maps.services4.insert(ServiceKey4 { addr: addr.as_v4(), port, protocol }, number, 0)?,
        Family::V6 => maps.services6.insert(ServiceKey6 { addr, port, protocol }, number, 0)?,
    }
    Ok(())
}
