//! TCP as an observer in the middle sees it (RFC 9293 §3.3.2). Pure: `(state, seen, who, flags)` → `(state, seen)`.

use lb_common::flow::{seen, state};

use crate::packet::header::tcp_flag::{ACK, FIN, RST, SYN};

/// A SYN that opens a connection.
#[inline(always)]
pub const fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// Flags that change a flow's state.
#[inline(always)]
pub const fn is_plain(flags: u8) -> bool {
    flags & (SYN | FIN | RST) == 0
}

/// May a new SYN from the client take the flow's place? So it is once the client has said that it is done.
#[inline(always)]
pub const fn is_reusable(current: u8, flags_seen: u16) -> bool {
    !state::is_active(current) || flags_seen & seen::FIN_CLIENT != 0
}

/// The state after a packet. `one_sided`: only the client's packets are seen (DSR), so its FIN has to do for both.
#[inline(always)]
pub const fn next(current: u8, flags_seen: u16, from_client: bool, one_sided: bool, flags: u8) -> (u8, u16) {
    if flags & RST != 0 {
        return (state::RESET, flags_seen);
    }
    if current >= state::CLOSED {
        return (current, flags_seen);
    }
    if flags & FIN != 0 {
        let all = flags_seen | if from_client { seen::FIN_CLIENT } else { seen::FIN_BACKEND };
        // An unanswered connection has nothing to close: else SYN and FIN alone would earn a place among the established.
        if current == state::FRESH && !one_sided {
            return (current, all);
        }
        let both = all & seen::FIN_CLIENT != 0 && all & seen::FIN_BACKEND != 0;
        let closed = both || (one_sided && from_client);
        return (if closed { state::CLOSED } else { state::HALF_CLOSED }, all);
    }
    if !from_client && current == state::FRESH && flags & (SYN | ACK) == SYN | ACK {
        return (state::ANSWERED, flags_seen);
    }
    if from_client && flags & SYN == 0 && (current == state::ANSWERED || (one_sided && current == state::FRESH)) {
        return (state::ESTABLISHED, flags_seen);
    }
    (current, flags_seen)
}
