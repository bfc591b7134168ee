//! Where layer 7 listens, what is spoken there and how much of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::listen::Prefix;
use crate::name::Name;

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Protocols {
    pub h1: bool,
    /// Over TLS, by ALPN.
    pub h2: bool,
    /// Over QUIC, on the same port's UDP side.
    pub h3: bool,
    /// Clear-text HTTP/2 with prior knowledge (RFC 9113 §3.3).
    pub h2c: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// How a certificate is ordered automatically (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcmeAccount {
    /// The directory's URL.
    pub directory: String,
    pub email: Option<String>,
    /// Root certificates that the directory's own TLS is verified with; system roots without.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// PEM files; the chain's leaf first.
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    Acme(AcmeAccount),
}

/// One `[[listener.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// Host names, lower case, `*.example.com` for one label. Empty: those that the certificate itself names.
    pub names: Vec<String>,
    pub source: CertificateSource,
}

/// Mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAuth {
    /// PEM bundle.
    pub ca: PathBuf,
    /// A client without a certificate is refused in the handshake.
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerTimeouts {
    /// From the first byte of a request's head to its end.
    pub header: Duration,
    /// Silence within a request's body.
    pub body: Duration,
    /// Between requests of a connection.
    pub idle: Duration,
    /// The handshake.
    pub tls: Duration,
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            tls: Duration::from_secs(10),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerLimits {
    /// Bytes of a request's head.
    pub header: u64,
    /// Fields of a request's head.
    pub fields: u32,
    /// Bytes of the request target.
    pub uri: u64,
    /// Concurrent streams of an HTTP/2 or HTTP/3 connection.
    pub streams: u32,
    /// 0: no limit.
    pub requests_per_connection: u64,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { header: 32 << 10, fields: 100, uri: 8 << 10, streams: 100, requests_per_connection: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: Name,
    pub listen: SocketAddr,
    pub protocols: Protocols,
    /// A PROXY protocol header is expected, from `trusted_proxies` only.
    pub proxy_protocol: bool,
    /// Whose forwarding fields and PROXY headers are believed.
    pub trusted_proxies: Vec<Prefix>,
    /// Empty: clear text.
    pub certificates: Vec<Certificate>,
    pub client_auth: Option<ClientAuth>,
    pub tls_min: TlsVersion,
    /// `max-age` of Strict-Transport-Security; zero: the field is not sent.
    pub hsts: Duration,
    pub timeouts: ListenerTimeouts,
    pub limits: ListenerLimits,
}

impl Listener {
    /// Clear-text HTTP/1.1 with every default.
    #[must_use]
    pub fn new(name: Name, listen: SocketAddr) -> Self {
        Self {
            name,
            listen,
            protocols: Protocols { h1: true, ..Protocols::default() },
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            certificates: Vec::new(),
            client_auth: None,
            tls_min: TlsVersion::default(),
            hsts: Duration::ZERO,
            timeouts: ListenerTimeouts::default(),
            limits: ListenerLimits::default(),
        }
    }
    #[must_use]
    pub fn is_tls(&self) -> bool {
        !self.certificates.is_empty()
    }
    #[must_use]
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|p| p.contains(peer))
    }
}
