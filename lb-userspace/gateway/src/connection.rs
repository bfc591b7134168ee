//! What is known of a client's connection for all of its requests, and how it is told to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio_util::sync::CancellationToken;

use crate::snapshot::{Place, Site};
use crate::stage::forwarded::Peer;
use crate::worker::Worker;

/// Told politely: no further request is taken than the one at hand.
#[derive(Debug, Default)]
pub(crate) struct Life {
    going: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Tunnels end now.
    pub(crate) cut: CancellationToken,
}

impl Life {
    /// The task of `cx` is woken when the connection is to go.
    pub(crate) fn is_going(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.going.get()
    }

    pub(crate) fn going(&self) -> bool {
        self.going.get()
    }

    pub(crate) fn go(&self) {
        self.going.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// What the handshake said.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// `TLSv1.3`
    pub version: &'static str,
    /// Lower case.
    pub server_name: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub worker: Rc<Worker>,
    pub place: Arc<Place>,
    pub peer: Peer,
    pub tls: Option<Tls>,
    pub life: Rc<Life>,
    pub requests: Cell<u64>,
}

impl Connection {
    /// The listener as it is configured now.
    pub(crate) fn site(&self) -> Arc<Site> {
        self.place.site.load_full()
    }
}
