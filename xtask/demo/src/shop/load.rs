//! Clients that ask over HTTPS without a pause, on kept connections, and note every failure.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use lb_tests::lab::Host;
use lb_tests::lab::addresses::{Family, flow_source};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stage;

const CLIENTS: u32 = 8;
/// Requests of one connection before it is given up for a new one.
const EACH: usize = 40;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// Different certificates seen.
    pub(crate) serials: usize,
    pub(crate) failures: Vec<String>,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<Done>>,
}

impl Load {
    pub(crate) fn start(client: &Host, root: &Path) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root)?)?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let told = Arc::clone(&stop);
        let thread = client.start(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(all(connector, told))
        })?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn stop(self) -> Result<Done> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

async fn all(connector: TlsConnector, stop: Arc<AtomicBool>) -> Result<Done> {
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(one(n, connector.clone(), Arc::clone(&stop)));
    }
    let mut done = Done::default();
    let mut seen = std::collections::HashSet::new();
    while let Some(part) = clients.join_next().await {
        let (part, certificates) = part?;
        done.requests += part.requests;
        done.connections += part.connections;
        done.failures.extend(part.failures);
        seen.extend(certificates);
    }
    done.serials = seen.len();
    Ok(done)
}

async fn one(n: u32, connector: TlsConnector, stop: Arc<AtomicBool>) -> (Done, Vec<Vec<u8>>) {
    let mut done = Done::default();
    let mut certificates = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let source = flow_source(n + CLIENTS * done.connections as u32, Family::V4);
        done.connections += 1;
        match timeout(PATIENCE * 8, connection(source, &connector, &stop, &mut done.requests)).await {
            Ok(Ok(certificate)) => certificates.push(certificate),
            Ok(Err(e)) => done.failures.push(format!("{e:#}")),
            Err(_) => done.failures.push("a connection hangs".into()),
        }
    }
    (done, certificates)
}

/// Requests until the connection has had enough or is told to close; its certificate.
async fn connection(
    source: SocketAddr,
    connector: &TlsConnector,
    stop: &AtomicBool,
    requests: &mut usize,
) -> Result<Vec<u8>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(source)?;
    let stream = timeout(PATIENCE, socket.connect(stage::address(443)))
        .await
        .context("connecting hangs")?
        .context("connecting")?;
    let name = ServerName::try_from(stage::HOST)?;
    let stream = timeout(PATIENCE, connector.connect(name, stream))
        .await
        .context("the handshake hangs")?
        .context("the handshake")?;
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec()).unwrap_or_default();
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(driver);
    for i in 0..EACH {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = ["/api/v2/orders/1", "/catalog/shoes", "/catalog/prices", "/"][i % 4];
        let request = Request::get(path).header(HOST, stage::HOST).body(Empty::<Bytes>::new())?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await.context("an answer is late")?;
        let answer = answer.with_context(|| format!("request {i} of a connection, {path}"))?;
        let status = answer.status();
        let closes = answer.headers().get(CONNECTION).is_some_and(|c| c == "close");
        timeout(PATIENCE, answer.into_body().collect()).await.context("a body is late")??;
        if !status.is_success() {
            bail!("{path} was answered by {status}");
        }
        *requests += 1;
        if closes {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(sender);
    let _ = timeout(PATIENCE, driver).await;
    Ok(certificate)
}
