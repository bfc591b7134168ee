//! The CLI's side: one request, one connection.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::wire::Fault;

/// Longer than anything the daemon does before it answers; a million flows take seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no lb daemon answers on {path} ({why}); start one with 'lb run', or say where with --socket or $LB_SOCKET"
    )]
    NoDaemon { path: PathBuf, why: String },
    /// The daemon is there, but its answer is not understood or does not come.
    #[error("the daemon on {path} does not answer properly: {why}")]
    Broken { path: PathBuf, why: String },
    /// It was understood and not done.
    #[error("{}", .0.error)]
    Fault(Fault),
}

/// Speaks to the daemon on one socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

/// One path segment, encoded.
#[must_use]
pub fn segment(s: &str) -> String {
    utf8_percent_encode(s, SEGMENT).to_string()
}

impl Client {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, &()).await
    }
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.send(Method::POST, path, body).await
    }
    /// # Errors
    /// [`ClientError`].
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.send(Method::PATCH, path, body).await
    }
    /// # Errors
    /// [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::DELETE, path, &()).await
    }

    fn broken(&self, why: impl std::fmt::Display) -> ClientError {
        ClientError::Broken { path: self.path.clone(), why: why.to_string() }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let bytes = self.send_for_bytes(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|e| self.broken(e))
    }

    /// The document as it came, for those who only pass it on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.send_for_bytes(Method::GET, path, &()).await?;
        String::from_utf8(bytes.into()).map_err(|e| self.broken(e))
    }

    /// Lines as they come, until the daemon ends the stream or `each` has seen enough.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn lines(&self, path: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> Result<(), ClientError> {
        let (mut body, ok) = self.open(Method::GET, path, Vec::new()).await?;
        if !ok {
            let bytes = body.body.collect().await.map_err(|e| self.broken(e))?.to_bytes();
            return Err(ClientError::Fault(serde_json::from_slice(&bytes).map_err(|e| self.broken(e))?));
        }
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.body.frame().await {
            let frame = frame.map_err(|e| self.broken(e))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d));
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if each(String::from_utf8_lossy(&line[..end]).as_ref()).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send_for_bytes(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(e))?;
        // `()` is JSON's null: no body.
        let body = if body == b"null" { Vec::new() } else { body };
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await;
        let (ok, bytes) = answer.map_err(|_| self.broken(format!("nothing came within {TIMEOUT:?}")))??;
        if ok {
            return Ok(bytes);
        }
        let fault = serde_json::from_slice(&bytes).map_err(|e| self.broken(e))?;
        Err(ClientError::Fault(fault))
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(bool, Bytes), ClientError> {
        let (answer, ok) = self.open(method, path, body).await?;
        let body = answer.body.collect().await.map_err(|e| self.broken(e))?.to_bytes();
        Ok((ok, body))
    }

    /// Sends, and has the head of the answer.
    async fn open(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(Answering, bool), ClientError> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|e| ClientError::NoDaemon { path: self.path.clone(), why: e.to_string() })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        let driver = Driver(tokio::spawn(connection));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "lb")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.broken(e))?;
        let response = sender.send_request(request).await.map_err(|e| self.broken(e))?;
        let ok = response.status().is_success();
        Ok((Answering { body: response.into_body(), _driver: driver, _sender: sender }, ok))
    }
}

/// An answer whose body is still to come. The connection ends with it.
struct Answering {
    body: Incoming,
    _sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    _driver: Driver,
}

/// The connection's task; it ends when this is dropped.
struct Driver(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
