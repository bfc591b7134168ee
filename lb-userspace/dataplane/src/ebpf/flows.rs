//! The live flow table, as `lb flows` shows it: forward halves, established first.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use lb_common::backend::Backend;
use lb_common::flow::{Flow, FlowKey4, FlowKey6, side, state};
use lb_common::net::{Addr, Be16, proto};
use lb_common::time::{age, millis_of_ticks};
use lb_model::Protocol;

use super::batch::{self, Cursor};
use super::clock;
use super::engine::EbpfPlane;
use super::publish::Publisher;
use super::sweep::Tables;
use crate::plane::{FlowQuery, FlowRecord};

const ROOM: usize = 4096;

pub(super) fn flows(plane: &EbpfPlane, query: &FlowQuery) -> Vec<FlowRecord> {
    let p = &plane.publisher;
    let wanted = match &query.service {
        Some(name) => match p.books.services.get(name) {
            Some(n) => Some(n),
            None => return Vec::new(),
        },
        None => None,
    };
    let mut list = List { p, wanted, limit: query.limit.unwrap_or(usize::MAX), now: clock::ticks(), out: Vec::new() };
    for fresh in [false, true] {
        list.table::<FlowKey4>(fresh);
        list.table::<FlowKey6>(fresh);
    }
    list.out
}

struct List<'a> {
    p: &'a Publisher,
    wanted: Option<u32>,
    limit: usize,
    now: u32,
    out: Vec<FlowRecord>,
}

impl List<'_> {
    fn table<K: Tables>(&mut self, fresh: bool) {
        let (mut keys, mut flows) = (Vec::<K>::new(), Vec::<Flow>::new());
        let mut cursor = Cursor::default();
        while self.out.len() < self.limit {
            let fd = K::table(&self.p.maps, fresh).as_fd();
            let more = match batch::read(fd, &mut cursor, ROOM, &mut keys, &mut flows) {
                Ok(more) => more,
                Err(e) => {
                    tracing::warn!(error = %e, "the flow table could not be read to its end");
                    return;
                }
            };
            for (key, flow) in keys.iter().zip(&flows) {
                let asked = self.wanted.is_none_or(|n| n == u32::from(flow.service));
                if flow.side == side::FORWARD && asked && self.out.len() < self.limit {
                    let record = record(self.p, &key.wide(), flow, self.now);
                    self.out.extend(record);
                }
            }
            if !more {
                return;
            }
        }
    }
}

pub(super) fn socket(addr: Addr, port: Be16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(addr), port.host())
}

/// The address a flow's packets go to.
pub(super) fn target(backend: &Backend, vip_port: Be16) -> SocketAddr {
    socket(backend.addr, if backend.port.0 == 0 { vip_port } else { backend.port })
}

/// `None` for a flow of a service whose name is gone.
fn record(p: &Publisher, key: &FlowKey6, flow: &Flow, now: u32) -> Option<FlowRecord> {
    let span = |then| Duration::from_millis(millis_of_ticks(age(now, then)));
    let backend = p.maps.backends.get(&flow.backend, 0).unwrap_or_default();
    Some(FlowRecord {
        service: p.books.services.owner(u32::from(flow.service))?.clone(),
        protocol: if key.protocol == u32::from(proto::UDP) { Protocol::Udp } else { Protocol::Tcp },
        client: socket(key.src, key.src_port),
        vip: socket(key.dst, key.dst_port),
        backend: target(&backend, flow.vip_port),
        state: state::name(flow.state),
        age: span(flow.created),
        idle: span(flow.last_seen),
        packets: flow.packets,
        bytes: flow.bytes,
    })
}
