//! One worker's way to the backends: a request goes in, an answer or a failure comes out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use lb_message::Body;
use lb_model::http::{Retry, RouteTimeouts};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::answer::{Answer, Failure};
use crate::backend::Backend;
use crate::budget::RetryBudget;
use crate::clock;
use crate::deadline::Deadlines;
use crate::exchange::Run;
use crate::lane::Lane;
use crate::pool::PoolHandle;
use crate::upstreams::Upstreams;

/// How often idle connections are looked through.
const TIDY: Duration = Duration::from_secs(5);

/// What a request may take and how it is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// The rightmost untrusted address.
    pub client: IpAddr,
    /// Normalised, without query; what `hash_on = "path"` hashes.
    pub path: &'a str,
    pub timeouts: &'a RouteTimeouts,
    pub retry: &'a Retry,
    pub budget: &'a RetryBudget,
    /// The client's side is TLS.
    pub secure: bool,
}

/// One worker's connections.
#[derive(Debug)]
pub struct Client {
    upstreams: Arc<Upstreams>,
    pub(crate) deadlines: Rc<Deadlines>,
    lanes: Rc<Lanes>,
    random: Cell<u64>,
    tasks: [AbortHandle; 2],
}

#[derive(Debug, Default)]
struct Lanes(RefCell<HashMap<u32, Rc<Lane>, foldhash::fast::RandomState>>);

impl Client {
    /// Must be called in a `LocalSet` of a current-thread runtime: connections are driven there.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>) -> Rc<Self> {
        let deadlines = Deadlines::new();
        let lanes = Rc::new(Lanes::default());
        let timer = tokio::task::spawn_local(Rc::clone(&deadlines).run());
        let tidy = tokio::task::spawn_local(tidy(Rc::clone(&lanes), upstreams.changes()));
        let tasks = [timer.abort_handle(), tidy.abort_handle()];
        Rc::new(Self { upstreams, deadlines, lanes, random: Cell::new(rand::random()), tasks })
    }

    #[must_use]
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// Idle HTTP/1.1 connections of this worker.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.lanes.0.borrow().values().map(|lane| lane.idle_count()).sum()
    }

    /// Sends a request whose hop-by-hop fields are gone (but for `Connection: upgrade` with `Upgrade`, and `TE:
    /// trailers`), with an origin-form URI and a Host field. 1xx answers go to a callback that was put into the request
    /// by `hyper::ext::on_informational`. Dropping the future or the answer's body ends the backend's request.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(
        self: &Rc<Self>,
        pool: &Arc<PoolHandle>,
        request: Request<Body>,
        want: &Want<'_>,
    ) -> Result<Answer, Failure> {
        Run::new(self, pool, request, want).answer().await
    }

    pub(crate) fn lane(&self, backend: &Arc<Backend>) -> Rc<Lane> {
        if let Some(lane) = self.lanes.0.borrow().get(&backend.id) {
            return Rc::clone(lane);
        }
        let lane = Lane::new(Arc::clone(backend));
        self.lanes.0.borrow_mut().insert(backend.id, Rc::clone(&lane));
        lane
    }

    /// Chance, of the cheap kind (SplitMix64).
    pub(crate) fn random(&self) -> u32 {
        let seed = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(seed);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Closes connections that are of no more use, whenever pools change and every few seconds.
async fn tidy(lanes: Rc<Lanes>, mut changes: watch::Receiver<u64>) {
    loop {
        if let Ok(Err(_)) = tokio::time::timeout(TIDY, changes.changed()).await {
            return;
        }
        let all: Vec<Rc<Lane>> = lanes.0.borrow().values().cloned().collect();
        let now = clock::ticks(clock::now());
        all.iter().for_each(|lane| lane.tidy(now));
        lanes.0.borrow_mut().retain(|_, lane| !lane.is_over());
    }
}
