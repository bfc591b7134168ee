//! The limit: a proxy of hyper alone, one thread, connections to the backend kept, no routes, no log, no checks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, Version, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    clear: SocketAddr,
    tls: SocketAddr,
    backend: SocketAddr,
    cert: PathBuf,
    key: PathBuf,
}

/// Connections that wait for a request.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

pub(crate) fn run(bare: &Bare) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(&bare.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&bare.key)?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let clear = TcpListener::bind(bare.clear).await.context("cannot listen")?;
        let tls = TcpListener::bind(bare.tls).await.context("cannot listen")?;
        let idle = Idle::default();
        let backend = bare.backend;
        loop {
            tokio::select! {
                accepted = clear.accept() => {
                    let (stream, _) = accepted?;
                    let _ = stream.set_nodelay(true);
                    let idle = Rc::clone(&idle);
                    tokio::task::spawn_local(async move { serve_h1(TokioIo::new(stream), idle, backend).await });
                }
                accepted = tls.accept() => {
                    let (stream, _) = accepted?;
                    let _ = stream.set_nodelay(true);
                    let (idle, acceptor) = (Rc::clone(&idle), acceptor.clone());
                    tokio::task::spawn_local(async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                            serve_h2(TokioIo::new(stream), idle, backend).await;
                        } else {
                            serve_h1(TokioIo::new(stream), idle, backend).await;
                        }
                    });
                }
            }
        }
    })
}

async fn serve_h1<I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static>(io: I, idle: Idle, backend: SocketAddr) {
    let service = service_fn(|request| forward(request, Rc::clone(&idle), backend));
    let _ = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await;
}

async fn serve_h2<I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static>(io: I, idle: Idle, backend: SocketAddr) {
    let service = service_fn(move |request| forward(request, Rc::clone(&idle), backend));
    let _ = hyper::server::conn::http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .serve_connection(io, service)
        .await;
}

async fn forward(
    request: Request<Incoming>,
    idle: Idle,
    backend: SocketAddr,
) -> Result<Response<Incoming>, hyper::Error> {
    let mut sender = connection(&idle, backend).await;
    let (mut parts, body) = request.into_parts();
    parts.version = Version::HTTP_11;
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = header::HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
        parts.uri = parts.uri.path_and_query().map_or("/", |p| p.as_str()).parse().unwrap_or_default();
    }
    let response = sender.send_request(Request::from_parts(parts, body)).await?;
    idle.borrow_mut().push(sender);
    Ok(response)
}

/// One that is ready, or a new one.
async fn connection(idle: &Idle, backend: SocketAddr) -> SendRequest<Incoming> {
    loop {
        let kept = {
            let mut idle = idle.borrow_mut();
            let ready = idle.iter().rposition(SendRequest::is_ready);
            ready.map(|at| idle.swap_remove(at))
        };
        if let Some(kept) = kept {
            return kept;
        }
        match open(backend).await {
            Ok(sender) => return sender,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn open(backend: SocketAddr) -> Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        // A backend that goes away ends its requests by itself.
        let _ = connection.await;
    });
    Ok(sender)
}
