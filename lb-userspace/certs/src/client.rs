//! TLS to backends.

use std::sync::Arc;

use lb_model::http::UpstreamTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{crypto, pem};

/// Sessions kept for resumption.
const SESSIONS: usize = 1024;

/// Reads the files that `tls` names. `alpn`: the protocols offered, the preferred one first. The name that is verified
/// is given with each connection: `tls.server_name`, or the backend's own.
///
/// # Errors
/// A file that cannot be used, or no system roots where they are needed: in words, with the path.
pub fn config(tls: &UpstreamTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    let provider = crypto::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if tls.verify {
        let roots = match &tls.ca {
            Some(path) => pem::roots(path)?,
            None => system_roots()?,
        };
        builder.with_root_certificates(roots)
    } else {
        // Still read, so that a wrong path does not wait for the day on which `verify` is turned on.
        if let Some(path) = &tls.ca {
            pem::roots(path)?;
        }
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptsAnyCertificate(provider)))
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = pem::certificates(cert, &pem::read(cert)?)?;
            let private = pem::key(key, &pem::read(key)?)?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))?
        }
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// What the system trusts; certificates among it that cannot be used are left out.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        return Err(format!("this system has no root certificates{why}: install them, or name a 'ca'"));
    }
    Ok(roots)
}

/// For `verify = false`: whose certificate it is does not matter; that the other end has its key is still checked.
#[derive(Debug)]
struct AcceptsAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
