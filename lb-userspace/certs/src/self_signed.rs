//! Certificates that nobody vouches for: for `lb run --listen https://…` without one, and until the first is issued.

use rcgen::{CertificateParams, KeyPair};

/// PEM texts.
pub struct SelfSigned {
    pub certificate: String,
    pub key: String,
}

/// The key is not shown.
impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// For host names and addresses; of a P-256 key.
///
/// # Errors
/// A name that can be none, in words.
pub fn generate(names: &[String]) -> Result<SelfSigned, String> {
    let (params, key) = params(names)?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    Ok(SelfSigned { certificate: certificate.pem(), key: key.serialize_pem() })
}

pub(crate) fn params(names: &[String]) -> Result<(CertificateParams, KeyPair), String> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(|e| format!("{}: {e}", names.join(", ")))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("lb: self-signed for {name}"));
    }
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    Ok((params, key))
}
