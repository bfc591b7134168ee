//! Stage 2, may it pass: source ranges and the rate of new flows. Asked for new flows only: an established one has been
//! let in.

use aya_ebpf::maps::lpm_trie::Key;
use lb_common::flow::ClientKey;
use lb_common::net::Addr;
use lb_common::reason::Reason;
use lb_common::service::{RangeKey, Service, flag};

use crate::clock;
use crate::maps::{RANGES, RATES};

#[inline(always)]
pub fn admit(number: u32, service: &Service, client: &Addr) -> Result<(), Reason> {
    if service.flags & flag::RANGES != 0 && !in_ranges(number, client) {
        return Err(Reason::Denied);
    }
    if service.rate_interval_ns != 0 && !in_rate(number, service, client) {
        return Err(Reason::RateLimited);
    }
    Ok(())
}

/// The most specific range decides; user space has written its verdict (deny wins) and a default for "anything else".
#[inline(always)]
fn in_ranges(number: u32, client: &Addr) -> bool {
    let key = Key::new(32 + 128, RangeKey { service: number, client: *client });
    RANGES.get(key).is_none_or(|v| *v != 0)
}

/// The generic cell rate algorithm (ITU-T I.371, virtual scheduling): `tat` is when the client's next flow would be due
/// if it kept its rate.
///
/// Two CPUs may read the same `tat` and both let a flow in: the burst is then exceeded by at most one flow per CPU.
#[inline(always)]
fn in_rate(number: u32, service: &Service, client: &Addr) -> bool {
    let key = ClientKey { client: *client, service: number };
    let now = clock::nanos();
    let Some(tat) = RATES.get_ptr_mut(key) else {
        let _full = RATES.insert(key, now + service.rate_interval_ns, 0);
        return true;
    };
    // SAFETY: a valid pointer to a map value; the race is described above.
    let tat = unsafe { &mut *tat };
    let due = if *tat > now { *tat } else { now };
    // A burst of n lets n flows in at once: the n-th is due n - 1 intervals ahead.
    if due - now + service.rate_interval_ns > service.rate_tolerance_ns {
        return false;
    }
    *tat = due + service.rate_interval_ns;
    true
}
