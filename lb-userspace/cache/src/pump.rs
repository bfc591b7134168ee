//! The task that moves a body from the backend to its readers and, whole, into the cache.

use std::pin::Pin;
use std::sync::Arc;

use http_body::Body as _;
use lb_message::Body;

use crate::cache::Cache;
use crate::fill::{Fill, Pace};
use crate::flight::Landing;
use crate::key::Key;
use crate::store::with_body;

/// Moves a backend's body into a [`Fill`], and the whole into the cache.
pub(crate) struct Pump {
    pub(crate) cache: Arc<Cache>,
    pub(crate) key: Key,
    pub(crate) fill: Arc<Fill>,
    pub(crate) landing: Option<Landing>,
    pub(crate) background: bool,
    pub(crate) stored: bool,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.fill.broken();
    }
}

impl Pump {
    pub(crate) async fn run(mut self, mut body: Body) {
        let mut trailers = None;
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else { return };
            match frame.into_data() {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    let complete = self.fill.push(chunk, self.cache.policy.max_object);
                    if complete && body.is_end_stream() {
                        break;
                    }
                    if complete {
                        self.store();
                    }
                    self.fill.wake();
                    if self.fill.is_passing() {
                        self.landing = None;
                    }
                    match self.fill.pace(self.background) {
                        Pace::On => {}
                        Pace::Wait => std::future::poll_fn(|cx| self.fill.poll_room(cx)).await,
                        Pace::Stop => return,
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        self.store();
        self.fill.end(trailers);
    }

    /// Before readers hear of the end, so that whoever asks again then finds it.
    fn store(&mut self) {
        if let Some(body) = self.fill.whole()
            && !std::mem::replace(&mut self.stored, true)
        {
            self.cache.keep(&self.key, &with_body(&self.fill.head, body));
        }
    }
}
