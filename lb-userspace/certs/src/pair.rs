//! One certificate with its key: read, understood and checked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::{crypto, names, ocsp, pem};

#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Arc<CertifiedKey>,
    /// That the certificate itself names.
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// RFC 3339.
    pub(crate) not_after_text: String,
    /// What is stapled is good until then.
    ocsp_until: Option<SystemTime>,
    /// Why what lies beside it is not stapled.
    ocsp_fault: Option<String>,
}

/// The contents of the files of a pair.
pub(crate) struct Contents<'a> {
    pub(crate) cert: (&'a Path, &'a [u8]),
    pub(crate) key: (&'a Path, &'a [u8]),
    /// DER.
    pub(crate) ocsp: Option<&'a [u8]>,
}

impl Pair {
    /// `wanted`: names that it must cover.
    pub(crate) fn new(contents: &Contents<'_>, wanted: &[String]) -> Result<Self, String> {
        let (cert_path, cert) = contents.cert;
        let (key_path, key) = contents.key;
        let chain = pem::certificates(cert_path, cert)?;
        let private = pem::key(key_path, key)?;
        let certified = CertifiedKey::from_der(chain, private, &crypto::provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                format!("{}: the key is not the one of {}", key_path.display(), cert_path.display())
            }
            other => format!("{} with {}: {other}", cert_path.display(), key_path.display()),
        })?;
        let pair = Self::understood(certified, contents.ocsp).map_err(|e| format!("{}: {e}", cert_path.display()))?;
        let missing: Vec<&str> = wanted.iter().filter(|w| !names::cover(&pair.names, w)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(format!(
                "{}: does not cover {}; it is for {}",
                cert_path.display(),
                missing.join(", "),
                if pair.names.is_empty() { "no name".to_owned() } else { pair.names.join(", ") }
            ));
        }
        Ok(pair)
    }

    fn understood(mut certified: CertifiedKey, ocsp: Option<&[u8]>) -> Result<Self, String> {
        let leaf = certified.end_entity_cert().map_err(|e| e.to_string())?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| format!("not a certificate: {e}"))?;
        let validity = parsed.validity();
        let issuer = parsed.issuer().iter_common_name().next().and_then(|n| n.as_str().ok());
        let good = ocsp.map(|der| ocsp::good_until(der, parsed.raw_serial()));
        let mut pair = Self {
            names: names::of(&parsed),
            issuer: issuer.map_or_else(|| parsed.issuer().to_string(), str::to_owned),
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            not_after_text: rfc3339(validity.not_after),
            ocsp_until: None,
            ocsp_fault: None,
            key: Arc::new(certified.clone()),
        };
        match good {
            Some(Ok(until)) => {
                certified.ocsp = ocsp.map(<[u8]>::to_vec);
                pair.key = Arc::new(certified);
                pair.ocsp_until = until;
            }
            Some(Err(why)) => pair.ocsp_fault = Some(format!("not stapled: the file beside it {why}")),
            None => {}
        }
        Ok(pair)
    }

    /// Takes off what was stapled once it is out of date: clients would refuse it (RFC 6960 §3.2). `true`: it was.
    pub(crate) fn age(&mut self, now: SystemTime) -> bool {
        let old = self.key.ocsp.is_some() && self.ocsp_until.is_some_and(|until| now > until);
        if old {
            let mut bare = (*self.key).clone();
            bare.ocsp = None;
            self.key = Arc::new(bare);
            self.ocsp_fault = Some("not stapled: the OCSP response beside it is out of date".to_owned());
        }
        old
    }

    /// What a client would object to at `now`, or would miss.
    pub(crate) fn fault_at(&self, now: SystemTime) -> Option<String> {
        if now > self.not_after {
            Some(format!("expired at {}", self.not_after_text))
        } else if now < self.not_before {
            Some("not valid yet".to_owned())
        } else {
            self.ocsp_fault.clone()
        }
    }
}

fn system_time(t: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(t.timestamp().unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let moment = if t.timestamp() < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
    moment.unwrap_or(epoch)
}

fn rfc3339(t: ASN1Time) -> String {
    let t = t.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}
