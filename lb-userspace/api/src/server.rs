//! The daemon's side: accepts connections on the claimed socket and answers each request through the routes.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use lb_control::Handle;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::request::Asked;
use crate::routes::{self, Answer};
use crate::socket::Claim;

/// A client that does not finish its headers is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take once the server is to end.
const GRACE: Duration = Duration::from_secs(2);

/// The serving task's end: drop or [`stop`](Server::stop).
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers on the claimed socket until stopped.
    ///
    /// # Errors
    /// If the socket cannot be given to the runtime.
    pub fn start(mut claim: Claim, handle: Handle) -> std::io::Result<Self> {
        let listener = claim.take_listener().ok_or_else(|| std::io::Error::other("the claim is spent"))?;
        let listener = UnixListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            accept(listener, handle, stopped).await;
            drop(claim);
        });
        Ok(Self { stop, task })
    }

    /// Answers what was asked already, then ends and removes the socket.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A panic of the task is no reason to end differently.
        let _ = self.task.await;
    }
}

/// Returns once the server is to end (or its owner is gone).
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|s| *s).await;
}

async fn accept(listener: UnixListener, handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut stopped) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, handle.clone(), stopped.clone()))),
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

async fn serve(stream: UnixStream, handle: Handle, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer(request, &handle).await) }
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

async fn answer(request: Request<Incoming>, handle: &Handle) -> Response<Full<Bytes>> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let result = match Asked::read(request).await {
        Ok(asked) => routes::dispatch(&asked, handle).await,
        Err(fault) => Err(fault),
    };
    let Answer { status, body } = result.unwrap_or_else(|fault| {
        tracing::debug!(request = line, kind = ?fault.kind, error = fault.error, "a control request was not done");
        Answer::fault(&fault)
    });
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
