//! A body on its way from the backend, kept as it arrives and read by any number of clients on any thread.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::BoxError;

use crate::stored::Stored;

#[derive(Clone, Debug)]
enum End {
    Whole(Option<HeaderMap>),
    Broken,
}

#[derive(Debug, Default)]
struct State {
    /// The chunk at the front is number `first`.
    chunks: std::collections::VecDeque<Bytes>,
    first: usize,
    /// Bytes in `chunks`.
    held: u64,
    /// Bytes that ever came.
    total: u64,
    /// Too large to store: chunks that all readers have are let go.
    passing: bool,
    end: Option<End>,
    /// Number of the next chunk of each reader.
    readers: slab::Slab<usize>,
    waiting: Vec<Waker>,
    pump: Option<Waker>,
}

impl State {
    fn forget_read(&mut self) {
        let slowest = self.readers.iter().map(|(_, next)| *next).min().unwrap_or(usize::MAX);
        while self.first < slowest
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.held -= chunk.len() as u64;
            self.first += 1;
        }
    }
}

/// The body of one response while it is fetched.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) head: Arc<Stored>,
    /// As Content-Length says.
    length: Option<u64>,
    state: Mutex<State>,
}

/// What the task that fetches does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    On,
    /// Readers are behind: wait for [`Fill::room`].
    Wait,
    /// Nobody wants it.
    Stop,
}

/// Held for readers beyond what may be stored, in bytes.
const WINDOW: u64 = 1 << 20;

impl Fill {
    pub(crate) fn new(head: Arc<Stored>, length: Option<u64>) -> Arc<Self> {
        Arc::new(Self { head, length, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the body's beginning; `None` once the beginning is gone or the fetch has failed.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        if state.passing || matches!(state.end, Some(End::Broken)) {
            return None;
        }
        let seat = state.readers.insert(0);
        drop(state);
        Some(Reader { fill: self.clone(), seat, done: false })
    }

    /// A chunk came in; readers hear of it with [`Self::wake`]. Beyond `max` bytes the whole is not kept any more. True:
    /// that was all.
    pub(crate) fn push(&self, chunk: Bytes, max: u64) -> bool {
        let mut state = self.state();
        state.held += chunk.len() as u64;
        state.total += chunk.len() as u64;
        state.passing |= state.total > max;
        state.chunks.push_back(chunk);
        self.length == Some(state.total)
    }

    pub(crate) fn wake(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Too large to be kept: nobody can begin to read it now.
    pub(crate) fn is_passing(&self) -> bool {
        self.state().passing
    }

    pub(crate) fn pace(&self, unread_is_kept: bool) -> Pace {
        let mut state = self.state();
        let nobody = state.readers.is_empty();
        if state.passing {
            state.forget_read();
            return match nobody {
                true => Pace::Stop,
                false if state.held > WINDOW => Pace::Wait,
                false => Pace::On,
            };
        }
        // Without a length, nobody knows whether this ends.
        if nobody && self.length.is_none() && !unread_is_kept { Pace::Stop } else { Pace::On }
    }

    /// Ready when a reader has gone on or gone.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.forget_read();
        if state.held <= WINDOW || state.readers.is_empty() {
            return Poll::Ready(());
        }
        state.pump = Some(cx.waker().clone());
        Poll::Pending
    }

    /// All that came, if it is the whole and small enough to be stored.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        let state = self.state();
        if state.passing || self.length.is_some_and(|length| length != state.total) {
            return None;
        }
        Some(match state.chunks.len() {
            1 => state.chunks[0].clone(),
            _ => {
                let mut whole = Vec::with_capacity(usize::try_from(state.total).unwrap_or(0));
                state.chunks.iter().for_each(|c| whole.extend_from_slice(c));
                whole.into()
            }
        })
    }

    /// The backend's body is complete; too short a one is broken. To be called after the whole is stored, so that whoever
    /// has read to the end finds it.
    pub(crate) fn end(&self, trailers: Option<HeaderMap>) {
        let mut state = self.state();
        let short = self.length.is_some_and(|length| length != state.total);
        state.end = Some(if short { End::Broken } else { End::Whole(trailers) });
        drop(state);
        self.wake();
    }

    /// The fetch broke off: readers see an error, unless all is there.
    pub(crate) fn broken(&self) {
        self.state().end.get_or_insert(End::Broken);
        self.wake();
    }
}

/// The fetch from the backend ended before the body did.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the backend's body broke off")]
pub(crate) struct Truncated;

/// One client's view of a [`Fill`].
#[derive(Debug)]
pub(crate) struct Reader {
    fill: Arc<Fill>,
    seat: usize,
    done: bool,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let mut state = this.fill.state();
        let next = state.readers.get(this.seat).copied().unwrap_or(usize::MAX);
        let chunk = next.checked_sub(state.first).and_then(|at| state.chunks.get(at).cloned());
        if let Some(chunk) = chunk {
            if let Some(seat) = state.readers.get_mut(this.seat) {
                *seat += 1;
            }
            let pump = state.pump.take();
            drop(state);
            pump.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match state.end.clone() {
            None => {
                if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
            Some(end) => {
                drop(state);
                this.done = true;
                Poll::Ready(match end {
                    End::Whole(trailers) => trailers.map(|t| Ok(Frame::trailers(t))),
                    End::Broken => Some(Err(Box::new(Truncated))),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        // Right until something was read; hyper asks before that.
        let unread = self.fill.state().readers.get(self.seat) == Some(&0);
        match self.fill.length {
            Some(length) if unread => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        state.readers.try_remove(self.seat);
        let pump = state.pump.take();
        drop(state);
        pump.into_iter().for_each(Waker::wake);
    }
}
