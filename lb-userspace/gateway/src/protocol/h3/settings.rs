//! QUIC as a listener's configuration wants it: how much is taken at once, how long silence lasts.

use std::sync::Arc;

use lb_model::http::Listener;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::snapshot::Place;

/// Bytes of a request's body that may wait for us.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all requests of a connection.
const WINDOW: u32 = 4 << 20;
/// Bytes of responses that were not acknowledged yet, of a connection.
const SEND_WINDOW: u64 = 4 << 20;
/// Control, QPACK's two, and some that are of no use.
const UNIDIRECTIONAL: u32 = 8;

/// The configuration at hand, made anew when what it is made of has changed.
#[derive(Default)]
pub(crate) struct Settings {
    made: Option<(Arc<rustls::ServerConfig>, Arc<Listener>, Arc<quinn::ServerConfig>)>,
}

impl Settings {
    /// `None`: there is no TLS, and so no HTTP/3.
    pub(crate) fn of(&mut self, place: &Place) -> Option<Arc<quinn::ServerConfig>> {
        let tls = place.tls.load().as_ref()?.quic();
        let listener = Arc::clone(&place.site.load().listener);
        if !listener.protocols.h3 {
            return None;
        }
        if let Some((t, l, config)) = &self.made
            && Arc::ptr_eq(t, &tls)
            && Arc::ptr_eq(l, &listener)
        {
            return Some(Arc::clone(config));
        }
        let crypto = QuicServerConfig::try_from(Arc::clone(&tls)).ok()?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport(&listener)));
        let config = Arc::new(config);
        self.made = Some((tls, listener, Arc::clone(&config)));
        Some(config)
    }
}

fn transport(listener: &Listener) -> TransportConfig {
    let mut transport = TransportConfig::default();
    // Twice what we wait for a request: the one who waits for an answer may be silent for as long as that takes.
    let idle = IdleTimeout::try_from(listener.timeouts.idle.saturating_mul(2)).ok();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(listener.limits.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(UNIDIRECTIONAL))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle);
    transport
}
