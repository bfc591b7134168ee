//! When a flow has been idle for too long, and which key its other half has. Pure.

use lb_common::backend::Backend;
use lb_common::flow::{Flow, FlowKey4, FlowKey6, side, state, timeout};
use lb_common::net::proto;
use lb_common::service::{Service, forward};
use lb_common::time::{age, ticks_of_millis};

/// A flow's key of either family, as the wide one.
pub trait Key: aya::Pod {
    fn wide(&self) -> FlowKey6;
    fn narrow(wide: &FlowKey6) -> Self;
}

impl Key for FlowKey4 {
    fn wide(&self) -> FlowKey6 {
        FlowKey6 {
            src: lb_common::net::Addr::v4(self.src),
            dst: lb_common::net::Addr::v4(self.dst),
            src_port: self.src_port,
            dst_port: self.dst_port,
            protocol: self.protocol,
        }
    }
    fn narrow(w: &FlowKey6) -> Self {
        Self {
            src: w.src.as_v4(),
            dst: w.dst.as_v4(),
            src_port: w.src_port,
            dst_port: w.dst_port,
            protocol: w.protocol,
        }
    }
}

impl Key for FlowKey6 {
    fn wide(&self) -> FlowKey6 {
        *self
    }
    fn narrow(wide: &FlowKey6) -> Self {
        *wide
    }
}

/// How many ticks a flow may be idle. An established one for the service's `idle_timeout`, others as their state says,
/// but no longer than that.
#[must_use]
pub fn limit(flow: &Flow, protocol: u32, service: &Service) -> u32 {
    let by_state = match flow.state {
        state::FRESH | state::ANSWERED if protocol == u32::from(proto::UDP) => timeout::FRESH_UDP,
        state::FRESH | state::ANSWERED => timeout::FRESH_TCP,
        state::HALF_CLOSED => timeout::HALF_CLOSED,
        state::CLOSED => timeout::CLOSED,
        state::RESET => timeout::RESET,
        _ => return service.idle_timeout,
    };
    ticks_of_millis(by_state).min(service.idle_timeout)
}

/// Has a half been idle for too long? `None` for the service: it is gone, and so are its flows.
#[must_use]
pub fn is_over(now: u32, flow: &Flow, protocol: u32, service: Option<&Service>) -> bool {
    service.is_none_or(|s| age(now, flow.last_seen) > limit(flow, protocol, s))
}

/// The key of a NAT flow's other half; `None` without NAT.
#[must_use]
pub fn other_key(key: &FlowKey6, flow: &Flow, service: &Service, backend: &Backend) -> Option<FlowKey6> {
    if service.forward != forward::NAT {
        return None;
    }
    Some(if flow.side == side::REPLY {
        FlowKey6 {
            src: flow.peer,
            dst: service.vip,
            src_port: flow.peer_port,
            dst_port: flow.vip_port,
            protocol: key.protocol,
        }
    } else {
        FlowKey6 {
            src: backend.addr,
            dst: flow.peer,
            src_port: if backend.port.0 == 0 { flow.vip_port } else { backend.port },
            dst_port: flow.peer_port,
            protocol: key.protocol,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::net::{Addr, Be16};

    const MINUTE: u32 = 57_221;

    fn service() -> Service {
        Service { idle_timeout: 5 * MINUTE, forward: forward::NAT, ..Service::default() }
    }

    fn over(state: u8, protocol: u8, idle_millis: u64) -> bool {
        let now = ticks_of_millis(10_000_000);
        let flow = Flow { state, last_seen: now.wrapping_sub(ticks_of_millis(idle_millis)), ..Flow::default() };
        is_over(now, &flow, u32::from(protocol), Some(&service()))
    }

    #[test]
    fn every_state_has_its_patience() {
        for (state, protocol, kept, gone) in [
            (state::FRESH, proto::TCP, 29_000, 31_000),
            (state::ANSWERED, proto::TCP, 29_000, 31_000),
            (state::FRESH, proto::UDP, 29_000, 31_000),
            (state::ESTABLISHED, proto::TCP, 299_000, 302_000),
            (state::ESTABLISHED, proto::UDP, 299_000, 302_000),
            (state::HALF_CLOSED, proto::TCP, 119_000, 121_000),
            (state::CLOSED, proto::TCP, 9_000, 11_000),
            (state::RESET, proto::TCP, 1_900, 2_100),
        ] {
            assert!(!over(state, protocol, kept) && over(state, protocol, gone), "{}", state::name(state));
        }
    }

    #[test]
    fn a_short_idle_timeout_holds_for_all_states() {
        let short = Service { idle_timeout: ticks_of_millis(1_000), ..service() };
        let flow = Flow { state: state::FRESH, last_seen: 0, ..Flow::default() };
        assert!(is_over(ticks_of_millis(1_500), &flow, u32::from(proto::UDP), Some(&short)));
    }

    #[test]
    fn a_flow_of_no_service_is_over_and_a_stamp_ahead_is_not() {
        let flow = Flow { state: state::ESTABLISHED, last_seen: 100, ..Flow::default() };
        assert!(is_over(100, &flow, 6, None));
        assert!(!is_over(99, &flow, 6, Some(&service())));
    }

    #[test]
    fn halves_name_each_other() {
        let addr = |n: u8| Addr::from(std::net::IpAddr::from([10, 0, 0, n]));
        let port = Be16::from_host;
        let (client, vip, snat, backend_addr) = (addr(1), addr(2), addr(3), addr(4));
        let service = Service { vip, ..service() };
        for backend_port in [8080, 0] {
            let backend = Backend { addr: backend_addr, port: port(backend_port), ..Backend::default() };
            let key = FlowKey6 { src: client, dst: vip, src_port: port(5000), dst_port: port(80), protocol: 6 };
            let forward =
                Flow { side: side::FORWARD, peer: snat, peer_port: port(2000), vip_port: port(80), ..Flow::default() };
            let reply_key = other_key(&key, &forward, &service, &backend).expect("NAT");
            assert_eq!(reply_key.src_port.host(), if backend_port == 0 { 80 } else { 8080 });
            let reply =
                Flow { side: side::REPLY, peer: client, peer_port: port(5000), vip_port: port(80), ..Flow::default() };
            assert_eq!(other_key(&reply_key, &reply, &service, &backend), Some(key));
        }
        let dsr = Service { forward: forward::DSR, ..service };
        assert_eq!(other_key(&FlowKey6::default(), &Flow::default(), &dsr, &Backend::default()), None);
    }
}
