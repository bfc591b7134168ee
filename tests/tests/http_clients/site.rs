//! The front that the clients come to: TLS and clear text, an authority of its own, routes to a backend of each kind.

use std::net::SocketAddr;

use anyhow::Result;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{pool, route};
use lb_tests::http::tls::Authority;

pub(crate) struct Site {
    pub(crate) proxy: Proxy,
    pub(crate) authority: Authority,
    pub(crate) secure: SocketAddr,
    pub(crate) clear: SocketAddr,
}

/// The names in the certificate.
pub(crate) const NAME: &str = "localhost";

impl Site {
    /// Listeners `secure` (h1, h2) and `clear` (h1, h2c) in front of one pool.
    pub(crate) fn new(backend: SocketAddr, on_pool: &str, on_route: &str) -> Result<Self> {
        Self::speaking("", backend, on_pool, on_route)
    }

    pub(crate) fn speaking(protocols: &str, backend: SocketAddr, on_pool: &str, on_route: &str) -> Result<Self> {
        let (authority, secure, clear) = (Authority::new()?, port::free()?, port::free()?);
        let pair = authority.server(&[NAME, "127.0.0.1"])?;
        let text = [
            format!("[[listener]]\nname = \"secure\"\nlisten = \"{secure}\"\n{protocols}\n"),
            "[[listener.certificate]]\ncert = \"site.pem\"\nkey = \"site.key\"\n".to_owned(),
            format!("[[listener]]\nname = \"clear\"\nlisten = \"{clear}\"\nprotocols = [\"h1\", \"h2c\"]\n"),
            pool("web", &[backend], on_pool),
            route("all", &format!("pool = \"web\"\n{on_route}")),
        ];
        let files: [(&str, &[u8]); 3] = [
            ("site.pem", pair.cert.as_bytes()),
            ("site.key", pair.key.as_bytes()),
            ("ca.pem", authority.pem.as_bytes()),
        ];
        Ok(Self { proxy: Proxy::start_with("", &files, &text.concat())?, authority, secure, clear })
    }
}
