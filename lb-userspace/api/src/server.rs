//! The daemon's side: accepts connections on the claimed socket and answers each request through the routes.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use lb_control::Handle;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::answer::{Answer, AnswerBody};
use crate::request::Asked;
use crate::routes::{self, Asker};
use crate::socket::Claim;

/// A client that does not finish its headers is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take once the server is to end.
const GRACE: Duration = Duration::from_secs(2);

/// Another process wants to take over: it waits for sockets on this path. The reply says what comes, or why nothing does.
#[derive(Debug)]
pub struct Takeover {
    pub path: PathBuf,
    pub reply: oneshot::Sender<Result<String, String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    Ending,
    /// Ending, and the socket is another's.
    Leaving,
}

/// The serving task's end: drop, [`stop`](Server::stop) or [`leave`](Server::leave).
#[derive(Debug)]
pub struct Server {
    state: watch::Sender<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers on the claimed socket until stopped.
    ///
    /// # Errors
    /// If the socket cannot be given to the runtime.
    pub fn start(claim: Claim, handle: Handle) -> std::io::Result<Self> {
        Self::start_with(claim, handle, None)
    }

    /// The same, with somebody to tell when another process wants to take over.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        mut claim: Claim,
        handle: Handle,
        takeover: Option<mpsc::Sender<Takeover>>,
    ) -> std::io::Result<Self> {
        let listener = claim.take_listener().ok_or_else(|| std::io::Error::other("the claim is spent"))?;
        let listener = UnixListener::from_std(listener)?;
        let (state, seen) = watch::channel(State::Serving);
        let asker = Asker { handle, takeover };
        let task = tokio::spawn(async move {
            accept(listener, asker, seen.clone()).await;
            if *seen.borrow() == State::Leaving {
                claim.leave();
            }
        });
        Ok(Self { state, task })
    }

    /// Answers what was asked already, then ends and removes the socket.
    pub async fn stop(self) {
        self.end(State::Ending).await;
    }

    /// The same, but the socket stays: it is the process's that has taken over.
    pub async fn leave(self) {
        self.end(State::Leaving).await;
    }

    async fn end(self, how: State) {
        self.state.send_replace(how);
        // A panic of the task is no reason to end differently.
        let _ = self.task.await;
    }
}

/// Returns once the server is to end (or its owner is gone).
async fn told(state: &mut watch::Receiver<State>) {
    let _ = state.wait_for(|s| *s != State::Serving).await;
}

async fn accept(listener: UnixListener, asker: Asker, mut stopped: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut stopped) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, asker.clone(), stopped.clone()))),
                Err(error) => {
                    // Out of descriptors, most likely: some will come back.
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, all).await;
}

async fn serve(stream: UnixStream, asker: Asker, mut stopped: watch::Receiver<State>) {
    let service = service_fn(move |request| {
        let asker = asker.clone();
        async move { Ok::<_, Infallible>(answer(request, &asker).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a control connection broke");
    }
}

async fn answer(request: Request<Incoming>, asker: &Asker) -> Response<AnswerBody> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let result = match Asked::read(request).await {
        Ok(asked) => routes::dispatch(&asked, asker).await,
        Err(fault) => Err(fault),
    };
    let answer = result.unwrap_or_else(|fault| {
        tracing::debug!(request = line, kind = ?fault.kind, error = fault.error, "a control request was not done");
        Answer::fault(&fault)
    });
    answer.into_response()
}
