//! Interim answers (RFC 9110 §15.2, RFC 8297) on their way from a backend's connection to the client's.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use http::{HeaderMap, Request, StatusCode};

use crate::stage::hop;

/// More than this from one backend is noise.
const MOST: usize = 16;

/// Filled by the backend's connection, emptied by the client's; in a request's extensions if its client understands it.
#[derive(Debug, Default)]
pub(crate) struct Interim(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    answers: Vec<(StatusCode, HeaderMap)>,
    waker: Option<Waker>,
}

impl Interim {
    /// What has come; else the task of `cx` is woken when something does.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Vec<(StatusCode, HeaderMap)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.answers.is_empty() && !waiting.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            waiting.waker = Some(cx.waker().clone());
        }
        std::mem::take(&mut waiting.answers)
    }

    pub(crate) fn put(&self, status: StatusCode, fields: HeaderMap) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.answers.len() < MOST {
            waiting.answers.push((status, fields));
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

/// Has the backend's interim answers told to the client's side, if that asked for them. 100 is between us and each side;
/// 101 is no interim answer.
pub(crate) fn listen<B>(request: &mut Request<B>) {
    let Some(interim) = request.extensions_mut().remove::<Arc<Interim>>() else { return };
    hyper::ext::on_informational(request, move |answer| {
        let status = answer.status();
        if status != StatusCode::CONTINUE && status != StatusCode::SWITCHING_PROTOCOLS {
            let mut fields = answer.headers().clone();
            hop::response(&mut fields);
            interim.put(status, fields);
        }
    });
}
