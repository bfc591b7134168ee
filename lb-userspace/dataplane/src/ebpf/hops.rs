//! Next hops: by which interface, from which MAC to which, every backend is reached. Follows the kernel's routes and
//! neighbours and has it keep the latter resolved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;

use super::netlink::{Event, Events, LinkState, Neighbour, Netlink, Route};

/// The way to a backend as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hop {
    pub ifindex: u32,
    pub interface: String,
    pub src_mac: [u8; 6],
    /// `None`: not reachable now, for the reason in [`Hop::trouble`].
    pub dst_mac: Option<[u8; 6]>,
    pub mtu: u32,
    /// The host's own choice of source address.
    pub source: Option<IpAddr>,
    /// The neighbour that must be resolved.
    pub neighbour: Option<IpAddr>,
    pub trouble: Option<String>,
}

impl Hop {
    fn lost(why: String) -> Self {
        Self { trouble: Some(why), ..Self::default() }
    }
}

/// What netlink has said so far. Pure: answers go in, hops come out.
#[derive(Debug, Default)]
pub struct Known {
    pub links: BTreeMap<u32, LinkState>,
    pub neighbours: HashMap<(u32, IpAddr), Neighbour>,
}

impl Known {
    /// How packets get to an address by `route`.
    #[must_use]
    pub fn hop(&self, to: IpAddr, route: &Result<Route, String>) -> Hop {
        let route = match route {
            Ok(r) => r,
            Err(why) => return Hop::lost(format!("no route: {why}")),
        };
        if route.local {
            return Hop::lost("it is an address of this host, which XDP does not deliver to".into());
        }
        let Some(link) = self.links.get(&route.ifindex) else {
            return Hop::lost(format!("its route leads over interface {}, which is gone", route.ifindex));
        };
        let Some(src_mac) = link.mac else {
            return Hop::lost(format!("its route leads over {}, which is not Ethernet", link.name));
        };
        let neighbour = route.gateway.unwrap_or(to);
        let dst_mac = self.neighbours.get(&(route.ifindex, neighbour)).and_then(|n| n.mac);
        let trouble = match (link.up, dst_mac) {
            (false, _) => Some(format!("interface {} is down", link.name)),
            (true, None) => Some(format!("{neighbour} does not answer on {}", link.name)),
            (true, Some(_)) => None,
        };
        Hop {
            ifindex: route.ifindex,
            interface: link.name.clone(),
            src_mac,
            dst_mac: dst_mac.filter(|_| link.up),
            mtu: route.mtu.unwrap_or(link.mtu).min(link.mtu),
            source: route.source,
            neighbour: Some(neighbour),
            trouble,
        }
    }
}

#[derive(Debug)]
struct Target {
    route: Result<Route, String>,
    /// The route must be asked for again.
    stale: bool,
    last: Option<Hop>,
    /// Looks left until the neighbour is asked for again.
    patience: u8,
}

/// Follows the ways to a changing set of addresses.
#[derive(Debug)]
pub struct Hops {
    netlink: Netlink,
    events: Events,
    known: Known,
    targets: BTreeMap<IpAddr, Target>,
    /// The kernel keeps neighbours resolved itself.
    managed: bool,
    /// Calls until everything is looked at again, heard of a change or not.
    until_all: u32,
    paths_changed: bool,
}

/// Routes asked for in one call, and calls between looks at everything.
const ROUTES_PER_CALL: usize = 128;
const CALLS_PER_ROUND: u32 = 50;
const PATIENCE: u8 = 10;
/// Calls between looks at everything where changes come in all the time.
const REST: u32 = 3;

impl Hops {
    /// # Errors
    /// If netlink is not to be had.
    pub fn open() -> io::Result<Self> {
        let events = Events::open()?;
        let netlink = Netlink::open()?;
        let mut hops = Self {
            netlink,
            events,
            known: Known::default(),
            targets: BTreeMap::new(),
            managed: true,
            until_all: CALLS_PER_ROUND,
            paths_changed: false,
        };
        hops.look_at_all()?;
        Ok(hops)
    }

    fn look_at_all(&mut self) -> io::Result<()> {
        self.known.links = self.netlink.links()?.into_iter().map(|l| (l.index, l)).collect();
        self.known.neighbours = self.netlink.neighbours()?.into_iter().map(|n| ((n.ifindex, n.ip), n)).collect();
        Ok(())
    }

    #[must_use]
    pub fn links(&self) -> &BTreeMap<u32, LinkState> {
        &self.known.links
    }

    /// The addresses to follow from now on.
    pub fn follow(&mut self, wanted: &BTreeSet<IpAddr>) {
        self.targets.retain(|ip, _| wanted.contains(ip));
        for ip in wanted {
            self.targets.entry(*ip).or_insert_with(|| Target {
                route: Err("not asked yet".into()),
                stale: true,
                last: None,
                patience: 0,
            });
        }
    }

    /// Hears what has changed, asks a bounded number of questions, and gives the hops that are not what they were.
    /// The second value: interfaces may have changed.
    pub fn refresh(&mut self) -> (Vec<(IpAddr, Hop)>, bool) {
        for event in self.events.drain() {
            match event {
                Event::Paths => self.paths_changed = true,
                Event::Neighbour(n) if n.gone => drop(self.known.neighbours.remove(&(n.ifindex, n.ip))),
                Event::Neighbour(n) => drop(self.known.neighbours.insert((n.ifindex, n.ip), n)),
            }
        }
        self.until_all = self.until_all.saturating_sub(1);
        let rested = CALLS_PER_ROUND - self.until_all >= REST;
        let all = self.until_all == 0 || (self.paths_changed && rested);
        if all {
            self.until_all = CALLS_PER_ROUND;
            self.paths_changed = false;
            if let Err(e) = self.look_at_all() {
                tracing::warn!(error = %e, "netlink does not answer; next hops stay as they are");
            }
            self.targets.values_mut().for_each(|t| t.stale = true);
        }
        self.ask_routes();
        (self.changed(), all)
    }

    fn ask_routes(&mut self) {
        for (ip, t) in self.targets.iter_mut().filter(|(_, t)| t.stale).take(ROUTES_PER_CALL) {
            t.stale = false;
            t.route = self.netlink.route(*ip).map_err(|e| e.to_string());
        }
    }

    fn changed(&mut self) -> Vec<(IpAddr, Hop)> {
        let mut out = Vec::new();
        for (ip, t) in self.targets.iter_mut().filter(|(_, t)| !t.stale) {
            let hop = self.known.hop(*ip, &t.route);
            if let Some(neighbour) = hop.neighbour {
                let moved = t.last.as_ref().is_none_or(|l| (l.ifindex, l.neighbour) != (hop.ifindex, hop.neighbour));
                if moved || (hop.dst_mac.is_none() && t.patience == 0) {
                    t.patience = PATIENCE;
                    let entry = self.known.neighbours.get(&(hop.ifindex, neighbour));
                    if entry.is_none_or(|n| !n.permanent) {
                        ask_for_neighbour(&mut self.netlink, &mut self.managed, hop.ifindex, neighbour);
                    }
                }
                t.patience = t.patience.saturating_sub(1);
            }
            if t.last.as_ref() != Some(&hop) {
                t.last = Some(hop.clone());
                out.push((*ip, hop));
            }
        }
        out
    }

    /// Waits a little for the neighbours of new targets: a few rounds of at most 5 ms.
    pub fn settle(&mut self) -> Vec<(IpAddr, Hop)> {
        let mut out = BTreeMap::new();
        for round in 0..6 {
            out.extend(self.refresh().0);
            let waiting = self.targets.values().any(|t| match &t.last {
                None => true,
                Some(h) => h.neighbour.is_some() && h.dst_mac.is_none(),
            });
            if !waiting || round == 5 {
                break;
            }
            self.events.wait(5);
        }
        out.into_iter().collect()
    }
}

/// Has the kernel keep a neighbour resolved; where it cannot (before 5.16), has it resolve it once, again and again.
fn ask_for_neighbour(netlink: &mut Netlink, managed: &mut bool, ifindex: u32, ip: IpAddr) {
    if *managed {
        match netlink.resolve(ifindex, ip, true) {
            Ok(()) => return,
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                tracing::info!("this kernel has no managed neighbours (5.16); asking for them from here");
                *managed = false;
            }
            Err(e) => tracing::debug!(error = %e, neighbour = %ip, "the kernel does not manage the neighbour"),
        }
    }
    if let Err(e) = netlink.resolve(ifindex, ip, false) {
        tracing::debug!(error = %e, neighbour = %ip, "the kernel does not resolve the neighbour");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("an address")
    }

    fn known() -> Known {
        let link = |index, name: &str, mac, up| LinkState {
            index,
            name: name.into(),
            mac,
            mtu: 1500,
            up,
            xdp_native: None,
            xdp_generic: None,
        };
        let links = [
            link(1, "lo", None, true),
            link(2, "eth0", Some([2, 0, 0, 0, 0, 2]), true),
            link(3, "eth1", Some([2, 0, 0, 0, 0, 3]), false),
        ];
        let entry = |ifindex, a: &str| Neighbour {
            ifindex,
            ip: ip(a),
            mac: Some([2, 0, 0, 0, 0, 9]),
            permanent: false,
            gone: false,
        };
        let entries = [entry(2, "10.0.0.1"), entry(2, "10.0.0.254"), entry(3, "10.1.0.1")];
        Known {
            links: links.into_iter().map(|l| (l.index, l)).collect(),
            neighbours: entries.into_iter().map(|n| ((n.ifindex, n.ip), n)).collect(),
        }
    }

    fn route(ifindex: u32, gateway: Option<&str>) -> Route {
        Route { local: false, ifindex, gateway: gateway.map(ip), source: Some(ip("10.0.0.2")), mtu: Some(1400) }
    }

    #[test]
    fn a_hop_is_the_neighbour_or_the_gateway() {
        let k = known();
        let direct = k.hop(ip("10.0.0.1"), &Ok(route(2, None)));
        assert_eq!((direct.ifindex, direct.dst_mac, direct.mtu), (2, Some([2, 0, 0, 0, 0, 9]), 1400));
        assert_eq!(direct.trouble, None);
        let routed = k.hop(ip("192.0.2.7"), &Ok(route(2, Some("10.0.0.254"))));
        assert_eq!((routed.neighbour, routed.dst_mac.is_some()), (Some(ip("10.0.0.254")), true));
    }

    #[test]
    fn trouble_is_said_in_words() {
        let k = known();
        let said = |r: Result<Route, String>| k.hop(ip("10.0.0.7"), &r).trouble.unwrap_or_default();
        assert!(said(Ok(route(2, None))).contains("10.0.0.7 does not answer on eth0"));
        assert!(said(Ok(route(1, None))).contains("lo, which is not Ethernet"));
        assert!(said(Ok(route(9, None))).contains("gone"));
        assert!(said(Err("Network is unreachable".into())).contains("no route: Network is unreachable"));
        assert!(said(Ok(Route { local: true, ..route(1, None) })).contains("this host"));
        let down = k.hop(ip("10.1.0.1"), &Ok(route(3, None)));
        assert!(down.dst_mac.is_none() && down.trouble.is_some_and(|t| t.contains("eth1 is down")));
    }
}
