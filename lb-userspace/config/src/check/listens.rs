//! No two services or listeners may claim the same packet, and every address must be one the data plane can know a packet by.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use lb_model::{Listen, Name, PlaneChoice, PortRange, Protocol};

use crate::read::{Draft, DraftService};
use crate::report::{Problem, Report};
use crate::source::Span;

pub(super) fn check(draft: &Draft, report: &mut Report<'_>) {
    let mut claims = Claims::default();
    let wanted = wanted(draft);
    let mut blamed = HashSet::new();
    for Wanted { listen, place, .. } in &wanted {
        let Some((other, earlier)) = claims.claim(*listen, place) else { continue };
        let whose = wanted.iter().find(|w| w.place == earlier).map_or("", |w| w.whose.as_str());
        if blamed.insert(place.start) {
            let problem = Problem::new(format!("{listen} overlaps {other}{whose}"));
            let line = report.line(&earlier);
            report.error(
                place.clone(),
                problem.hint(format!("that one is on {line}; address, ports and protocol together must be unique")),
            );
        }
    }
    for service in &draft.services {
        if let Some(listen) = service.listen {
            wildcard(draft, listen, &service.table.place("listen"), report);
        }
    }
    metrics(draft, &wanted, report);
}

/// Ports that something wants for itself.
struct Wanted {
    listen: Listen,
    place: Span,
    /// " of service 'web'".
    whose: String,
}

/// In the order of the file. HTTP/3 takes the UDP side of its listener's port too.
fn wanted(draft: &Draft) -> Vec<Wanted> {
    let whose = |what: &str, name: Option<&Name>| name.map_or_else(String::new, |n| format!(" of {what} '{n}'"));
    let of_service = |s: &DraftService| {
        Some(Wanted { listen: s.listen?, place: s.table.place("listen"), whose: whose("service", s.name.as_ref()) })
    };
    let mut all: Vec<Wanted> = draft.services.iter().filter_map(of_service).collect();
    for listener in &draft.listeners {
        let Some((socket, ports)) = listener.listen.and_then(|s| Some((s, PortRange::single(s.port())?))) else {
            continue;
        };
        let udp = listener.protocols.is_some_and(|p| p.h3).then_some(Protocol::Udp);
        all.extend(std::iter::once(Protocol::Tcp).chain(udp).map(|protocol| Wanted {
            listen: Listen { address: socket.ip(), ports, protocol },
            place: listener.table.place("listen"),
            whose: whose("listener", listener.name.as_ref()),
        }));
    }
    all.sort_by_key(|w| w.place.start);
    all
}

fn wildcard(draft: &Draft, listen: Listen, place: &Span, report: &mut Report<'_>) {
    let userspace = matches!(draft.host.data_plane, Some(PlaneChoice::Userspace) | None);
    if listen.address.is_unspecified() && !userspace {
        let problem =
            Problem::new(format!("{listen} is every address, and XDP needs to know which one a packet is for"));
        report.error(place.clone(), problem.hint("name the address, or set [host] data_plane = \"userspace\""));
    }
}

fn metrics(draft: &Draft, wanted: &[Wanted], report: &mut Report<'_>) {
    let (Some(metrics), Some(table)) = (draft.host.host.metrics, &draft.host.table) else { return };
    let clash = wanted.iter().find(|w| {
        let l = w.listen;
        l.protocol == Protocol::Tcp && l.ports.contains(metrics.port()) && meet(l.address, metrics.ip())
    });
    if let Some(Wanted { listen, whose, .. }) = clash {
        let what = if whose.starts_with(" of listener") { "listener" } else { "service" };
        let problem = Problem::new(format!("metrics at {metrics} would take the place of the {what} at {listen}"));
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
