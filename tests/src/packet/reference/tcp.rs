//! TCP as the balancer sees it (RFC 9293 §3.3.2).

use super::parse::flag::{ACK, FIN, RST, SYN};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A SYN, or one datagram, and nothing else.
    Fresh,
    /// The backend's SYN-ACK was seen.
    Answered,
    Established,
    HalfClosed,
    Closed,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

/// What is known of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub state: State,
    pub client_done: bool,
    pub backend_done: bool,
}

impl Connection {
    /// A segment passes. `one_sided`: the backend's segments are never seen.
    pub fn segment(&mut self, from: Side, flags: u8, one_sided: bool) {
        let has = |f| flags & f != 0;
        match self.state {
            _ if has(RST) => self.state = State::Reset,
            State::Closed | State::Reset => {}
            _ if has(FIN) => self.finish(from, one_sided),
            State::Fresh if from == Side::Backend && has(SYN) && has(ACK) => self.state = State::Answered,
            State::Fresh if one_sided && from == Side::Client && !has(SYN) => self.state = State::Established,
            State::Answered if from == Side::Client && !has(SYN) => self.state = State::Established,
            _ => {}
        }
    }

    fn finish(&mut self, from: Side, one_sided: bool) {
        match from {
            Side::Client => self.client_done = true,
            Side::Backend => self.backend_done = true,
        }
        self.state = match self.state {
            // The client's word has to do for both.
            _ if one_sided => State::Closed,
            // Nobody has answered: there is nothing to close.
            State::Fresh => State::Fresh,
            _ if self.client_done && self.backend_done => State::Closed,
            _ => State::HalfClosed,
        };
    }

    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state < State::Closed
    }

    /// May a new SYN take its place?
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_active() || self.client_done
    }
}

/// Does a segment open a connection?
#[must_use]
pub fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | FIN | RST) == SYN
}
