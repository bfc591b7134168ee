//! From a listener to rustls' configurations.

use std::sync::Arc;

use lb_model::http::{Listener, TlsVersion};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::challenges::ACME_TLS_ALPN;
use crate::resolver::Resolver;
use crate::{crypto, pem};

const FROM_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const FROM_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// For TCP and for QUIC. Reads the client CA.
pub(crate) fn both(listener: &Listener, resolver: &Arc<Resolver>) -> Result<(ServerConfig, ServerConfig), String> {
    let verifier = client_verifier(listener)?;
    let versions = match listener.tls_min {
        TlsVersion::V1_2 => FROM_1_2,
        TlsVersion::V1_3 => FROM_1_3,
    };
    let mut tcp = config(versions, &verifier, resolver)?;
    let spoken = listener.protocols;
    tcp.alpn_protocols = [(spoken.h2, b"h2".as_slice()), (spoken.h1, b"http/1.1"), (true, ACME_TLS_ALPN)]
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| name.to_vec())
        .collect();
    // RFC 9001 §4.2: QUIC needs TLS 1.3.
    let mut quic = config(FROM_1_3, &verifier, resolver)?;
    quic.alpn_protocols = vec![b"h3".to_vec()];
    Ok((tcp, quic))
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    verifier: &Arc<dyn ClientCertVerifier>,
    resolver: &Arc<Resolver>,
) -> Result<ServerConfig, String> {
    let mut config = ServerConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(versions)
        .map_err(|e| e.to_string())?
        .with_client_cert_verifier(Arc::clone(verifier))
        .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    // Keys are changed every six hours and never written anywhere. Early data stays off: it can be replayed.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|e| e.to_string())?;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_verifier(listener: &Listener) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let Some(auth) = &listener.client_auth else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let roots = Arc::new(pem::roots(&auth.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, crypto::provider());
    let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|e| format!("{}: {e}", auth.ca.display()))
}
