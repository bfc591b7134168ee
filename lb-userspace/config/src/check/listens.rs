//! No two services may claim the same packet, and every address must be one the data plane can know a packet by.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use lb_model::{Listen, PlaneChoice, Protocol};

use crate::read::{Draft, DraftService};
use crate::report::{Problem, Report};
use crate::source::Span;

pub(super) fn check(draft: &Draft, report: &mut Report<'_>) {
    let mut claims = Claims::default();
    for service in &draft.services {
        let Some(listen) = service.listen else { continue };
        let place = service.table.place("listen");
        if let Some((other, earlier)) = claims.claim(listen, &place) {
            let name = |s: &DraftService| s.name.as_ref().map_or_else(String::new, |n| format!(" of service '{n}'"));
            let whose = draft.services.iter().find(|s| s.listen == Some(other)).map_or_else(String::new, name);
            let problem = Problem::new(format!("{listen} overlaps {other}{whose}"));
            let line = report.line(&earlier);
            report.error(
                place.clone(),
                problem.hint(format!("that one is on {line}; address, ports and protocol together must be unique")),
            );
        }
        wildcard(draft, listen, &place, report);
    }
    metrics(draft, report);
}

fn wildcard(draft: &Draft, listen: Listen, place: &Span, report: &mut Report<'_>) {
    let userspace = matches!(draft.host.data_plane, Some(PlaneChoice::Userspace) | None);
    if listen.address.is_unspecified() && !userspace {
        let problem =
            Problem::new(format!("{listen} is every address, and XDP needs to know which one a packet is for"));
        report.error(place.clone(), problem.hint("name the address, or set [host] data_plane = \"userspace\""));
    }
}

fn metrics(draft: &Draft, report: &mut Report<'_>) {
    let (Some(metrics), Some(table)) = (draft.host.host.metrics, &draft.host.table) else { return };
    let clash = draft
        .services
        .iter()
        .filter_map(|s| s.listen)
        .find(|l| l.protocol == Protocol::Tcp && l.ports.contains(metrics.port()) && meet(l.address, metrics.ip()));
    if let Some(listen) = clash {
        let problem = Problem::new(format!("metrics at {metrics} would take the place of the service at {listen}"));
        report.error(table.place("metrics"), problem.hint("choose another port"));
    }
}

/// One address, or one of them every address of the other's family.
fn meet(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

/// Which ports are taken, per protocol and address.
#[derive(Default)]
struct Claims(HashMap<(Protocol, IpAddr), BTreeMap<u16, (Listen, Span)>>);

impl Claims {
    /// Takes the ports, or says whose they are.
    fn claim(&mut self, listen: Listen, place: &Span) -> Option<(Listen, Span)> {
        let key = (listen.protocol, listen.address);
        let earlier = if listen.address.is_unspecified() {
            let here = self.0.iter().filter(|((p, a), _)| *p == listen.protocol && meet(*a, listen.address));
            here.filter_map(|(_, ports)| taken(ports, listen)).min_by_key(|(_, place)| place.start)
        } else {
            let any: IpAddr = if listen.address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let here = |key| self.0.get(&key).and_then(|ports| taken(ports, listen));
            here(key).or_else(|| here((listen.protocol, any)))
        };
        if earlier.is_none() {
            self.0.entry(key).or_default().insert(listen.ports.first(), (listen, place.clone()));
        }
        earlier
    }
}

/// The ranges held do not overlap each other, so only the last one that begins within reach can overlap this one.
fn taken(ports: &BTreeMap<u16, (Listen, Span)>, listen: Listen) -> Option<(Listen, Span)> {
    let (_, last) = ports.range(..=listen.ports.last()).next_back()?;
    last.0.ports.overlaps(listen.ports).then(|| last.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listens() -> impl Strategy<Value = Vec<Listen>> {
        let one = (0..3u8, 1..30u16, 0..6u16, any::<bool>()).prop_map(|(host, first, more, udp)| Listen {
            address: if host == 0 { [0; 4].into() } else { [192, 0, 2, host].into() },
            ports: lb_model::PortRange::new(first, first + more).expect("ordered"),
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
        });
        proptest::collection::vec(one, 0..20)
    }

    proptest! {
        /// Against the plain definition, pair by pair.
        #[test]
        fn overlaps_are_found_and_only_they(listens in listens()) {
            let mut claims = Claims::default();
            let mut held: Vec<Listen> = Vec::new();
            for listen in listens {
                let clash = held.iter().any(|h| {
                    h.protocol == listen.protocol && meet(h.address, listen.address) && h.ports.overlaps(listen.ports)
                });
                prop_assert_eq!(claims.claim(listen, &(0..0)).is_some(), clash, "{} among {:?}", listen, held);
                if !clash {
                    held.push(listen);
                }
            }
        }
    }
}
