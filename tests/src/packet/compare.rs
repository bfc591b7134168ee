//! Comparing what came out with what should have: each difference in words.

use std::collections::BTreeMap;
use std::fmt::Debug;

use etherparse::{LaxSlicedPacket, TransportSlice};
use lb_common::reason::Reason;
use lb_common::service::Traffic;

use super::program::{Counts, action};
use super::text;

/// Packets, bytes, flows.
pub type Delta = (u64, u64, u64);

/// How far counters moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub verdicts: BTreeMap<(u32, Reason), u64>,
    pub services: BTreeMap<u32, Delta>,
    pub backends: BTreeMap<u32, Delta>,
}

impl Moved {
    #[must_use]
    pub fn between(before: &Counts, after: &Counts) -> Self {
        let was = |k: &(u32, Reason)| before.verdicts.get(k).copied().unwrap_or(0);
        let verdicts = after.verdicts.iter().map(|(k, n)| (*k, n - was(k))).filter(|(_, n)| *n > 0);
        Self {
            verdicts: verdicts.collect(),
            services: traffic(&before.services, &after.services),
            backends: traffic(&before.backends, &after.backends),
        }
    }
}

fn traffic(before: &BTreeMap<u32, Traffic>, after: &BTreeMap<u32, Traffic>) -> BTreeMap<u32, Delta> {
    let moved = |(n, now): (&u32, &Traffic)| {
        let was = before.get(n).copied().unwrap_or_default();
        (*n, (now.packets - was.packets, now.bytes - was.bytes, now.flows - was.flows))
    };
    after.iter().map(moved).filter(|(_, d)| *d != (0, 0, 0)).collect()
}

/// # Errors
/// Both values, if they differ.
pub fn equal<T: PartialEq + Debug>(what: &str, wanted: &T, got: &T) -> Result<(), String> {
    if wanted == got { Ok(()) } else { Err(format!("{what}: expected {wanted:?}, got {got:?}")) }
}

/// # Errors
/// Which counters moved and which should have.
pub fn counters(wanted: &Moved, got: &Moved) -> Result<(), String> {
    let words = |m: &Moved| {
        let verdicts: Vec<String> =
            m.verdicts.iter().map(|((s, r), n)| format!("service {s} {} +{n}", r.name())).collect();
        let services = m.services.iter().map(|(s, d)| format!("service {s} {d:?}"));
        let backends = m.backends.iter().map(|(b, d)| format!("backend {b} {d:?}"));
        verdicts.into_iter().chain(services).chain(backends).collect::<Vec<_>>().join(", ")
    };
    if wanted == got {
        return Ok(());
    }
    Err(format!("counters: expected {}; got {} (packets, bytes, flows)", words(wanted), words(got)))
}

/// # Errors
/// Both frames and the bytes in which they differ.
pub fn frames(wanted: &[u8], got: &[u8]) -> Result<(), String> {
    if wanted == got {
        return Ok(());
    }
    let pairs = wanted.iter().zip(got).enumerate();
    let places: Vec<String> =
        pairs.filter(|(_, (w, g))| w != g).map(|(i, (w, g))| format!("{i:#x}: {w:02x} not {g:02x}")).collect();
    let places = places.join(", ");
    Err(format!("frames differ ({places})\nexpected {}\ngot {}", text::render(wanted), text::render(got)))
}

#[must_use]
pub const fn action_name(a: u32) -> &'static str {
    match a {
        action::DROP => "drop",
        action::PASS => "pass",
        action::TX => "tx",
        action::REDIRECT => "redirect",
        _ => "aborted or unknown",
    }
}

/// The source port of a frame, by etherparse.
#[must_use]
pub fn source_port(frame: &[u8]) -> Option<u16> {
    match LaxSlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Tcp(t) => Some(t.source_port()),
        TransportSlice::Udp(u) => Some(u.source_port()),
        _ => None,
    }
}

/// What the IP header says about its packet's length.
#[must_use]
pub fn layer3_len(frame: &[u8]) -> u64 {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    let word = |at: usize| u64::from(frame[at]) << 8 | u64::from(frame[at + 1]);
    match word(at) {
        0x0800 => word(at + 4),
        _ => 40 + word(at + 6),
    }
}
