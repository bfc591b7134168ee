//! One listener, one backend, one product: what most checks need.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::answer::Answer;
use super::backend::{Backend, Reply, Seen};
use super::client::{Client, End};
use super::proxy::Proxy;
use super::{echo, port};

#[derive(Debug)]
pub struct Scene {
    pub proxy: Proxy,
    pub backend: Backend,
    pub front: SocketAddr,
}

/// A listener in clear text named `edge`, with further lines.
#[must_use]
pub fn listener(front: SocketAddr, lines: &str) -> String {
    format!("[[listener]]\nname = \"edge\"\nlisten = \"{front}\"\n{lines}\n")
}

/// A pool of these backends, with further lines.
#[must_use]
pub fn pool(name: &str, backends: &[SocketAddr], lines: &str) -> String {
    let list: Vec<String> = backends.iter().map(|b| format!("{{ address = \"{b}\" }}")).collect();
    format!("[[pool]]\nname = \"{name}\"\nbackends = [{}]\n{lines}\n", list.join(", "))
}

/// A route with these lines.
#[must_use]
pub fn route(name: &str, lines: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\n{lines}\n")
}

impl Scene {
    /// Every request goes to an echoing backend.
    ///
    /// # Errors
    /// If the product does not come up.
    pub fn echo() -> Result<Self> {
        Self::with("", "", echo::reply)
    }

    /// Every request goes to a backend that answers with `handler`.
    ///
    /// # Errors
    /// As [`Scene::echo`].
    pub fn answering(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::with("", "", handler)
    }

    /// The same with lines for the listener and for the route.
    ///
    /// # Errors
    /// As [`Scene::echo`].
    pub fn with(
        on_listener: &str,
        on_route: &str,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::routes(on_listener, &route("all", &format!("pool = \"web\"\n{on_route}")), handler)
    }

    /// The same with these tables instead of the route; the pool is `web`.
    ///
    /// # Errors
    /// As [`Scene::echo`].
    pub fn routes(
        on_listener: &str,
        tables: &str,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let (backend, front) = (Backend::start(handler)?, port::free()?);
        let text = format!("{}{}{tables}", listener(front, on_listener), pool("web", &[backend.address], ""));
        Ok(Self { proxy: Proxy::start(&text)?, backend, front })
    }

    /// A fresh connection.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.front)
    }

    /// Asks on a connection of its own.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Result<Answer> {
        self.client()?.ask(request)
    }

    /// `GET path` for `a.test`.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask(get(path, ""))
    }

    /// These bytes are refused with that status, the connection ends, and the backend sees nothing; afterwards a good
    /// request passes, so that the refusal is not for want of a backend.
    ///
    /// # Errors
    /// If any of that is not so.
    pub fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) -> Result<()> {
        self.declines(bytes, status, reason, |client| {
            let (end, rest) = client.ended(Duration::from_secs(5)).context("after a refusal")?;
            ensure!(rest.is_empty(), "after the refusal came {:?} ({end:?})", String::from_utf8_lossy(&rest));
            ensure!(end == End::Closed, "the refusal was followed by a reset, which may overtake it");
            Ok(())
        })
    }

    /// The same, but the connection may go on, for what was read was well-formed.
    ///
    /// # Errors
    /// If any of that is not so.
    pub fn refuses_alone(&self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) -> Result<()> {
        self.declines(bytes, status, reason, |_| Ok(()))
    }

    fn declines(
        &self,
        bytes: impl AsRef<[u8]>,
        status: u16,
        reason: &str,
        then: impl FnOnce(&mut Client) -> Result<()>,
    ) -> Result<()> {
        let before = self.backend.count();
        let mut client = self.client()?;
        client.ask(bytes)?.is_refusal(status, reason)?;
        then(&mut client)?;
        ensure!(self.backend.count() == before, "the backend saw {:?}", self.backend.seen()[before..].first());
        let control = self.get("/control")?;
        ensure!(control.status == 200, "a good request got {}", control.status);
        ensure!(self.backend.count() == before + 1, "the backend saw {} requests", self.backend.count() - before);
        Ok(())
    }
}

/// The bytes of a GET for `a.test` with further field lines, each with its end of line.
#[must_use]
pub fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// The bytes of a POST for `a.test`.
#[must_use]
pub fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// Runs every case and says all that failed, not the first alone.
///
/// # Errors
/// If one failed.
pub fn every<T>(
    cases: impl IntoIterator<Item = (impl std::fmt::Display, T)>,
    mut check: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, case) in cases {
        count += 1;
        if let Err(e) = check(case) {
            failed.push(format!("  {name}: {e:#}"));
        }
    }
    ensure!(count > 0, "no cases");
    ensure!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}
