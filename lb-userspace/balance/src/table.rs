//! A pool's slots: which member stands where, for every algorithm. Both engines publish exactly these.

use std::net::{IpAddr, SocketAddr};

use lb_common::{maglev, wrr};
use lb_model::Algorithm;

/// What balancing needs to know of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub ip: IpAddr,
    /// `None`: the packet's own port is kept.
    pub port: Option<u16>,
    pub weight: u16,
    /// Takes new flows.
    pub eligible: bool,
}

impl Member {
    /// The weight as far as new flows go.
    #[must_use]
    pub const fn effective_weight(&self) -> u16 {
        if self.eligible { self.weight } else { 0 }
    }
}

/// Who a member is in a Maglev table: a hash of its resolved address as text (`10.0.0.1:80`, `[2001:db8::1]:80`, and
/// the bare address where the packet's port is kept). The place in the list plays no part.
#[must_use]
pub fn identity(ip: IpAddr, port: Option<u16>) -> u64 {
    let text = port.map_or_else(|| ip.to_string(), |p| SocketAddr::new(ip, p).to_string());
    maglev::identity(text.as_bytes())
}

/// The slots of a pool: positions in `members`. Only eligible members of some weight occur; without any the list is
/// empty.
///
/// `maglev`, `source-hash` and `random` share Maglev's table of `maglev_size` slots (a prime); `round-robin` has each
/// member once; `weighted-round-robin` and `least-connections` have the smooth sequence.
#[must_use]
pub fn slots(algorithm: Algorithm, members: &[Member], maglev_size: u32) -> Vec<u32> {
    match algorithm {
        Algorithm::Maglev | Algorithm::SourceHash | Algorithm::Random => {
            let entries: Vec<maglev::Member> = members
                .iter()
                .map(|m| maglev::Member { identity: identity(m.ip, m.port), weight: m.effective_weight() })
                .collect();
            maglev::table(&entries, maglev_size)
        }
        Algorithm::RoundRobin => once_each(members),
        Algorithm::WeightedRoundRobin | Algorithm::LeastConnections => {
            let weights: Vec<u16> = members.iter().map(Member::effective_weight).collect();
            wrr::sequence(&weights)
        }
    }
}

/// Members that take new flows, in order.
#[must_use]
pub fn once_each(members: &[Member]) -> Vec<u32> {
    (0u32..).zip(members).filter(|(_, m)| m.effective_weight() > 0).map(|(i, _)| i).collect()
}
