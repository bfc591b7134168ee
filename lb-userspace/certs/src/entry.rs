//! One `[[listener.certificate]]`: what its files say, and what is in force.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lb_model::http::{Certificate, CertificateSource};

use crate::pair::{Contents, Pair};
use crate::watch::Watched;
use crate::{Challenges, View, self_signed, store};

#[derive(Debug)]
enum Origin {
    Files {
        cert: Box<Watched>,
        key: Box<Watched>,
        ocsp: Box<Watched>,
    },
    /// Certificate and key in one file, so that they change together.
    Acme {
        bundle: Box<Watched>,
    },
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// Configured names; empty: the certificate's own.
    pub(crate) chosen: Vec<String>,
    origin: Origin,
    pub(crate) pair: Pair,
    /// The pair is a stand-in until the first is issued.
    stand_in: bool,
    /// Why what is on the disk is not in force.
    error: Option<String>,
    /// What a client would object to.
    fault: Option<String>,
}

impl Entry {
    /// Reads and checks; of ACME a certificate need not be there yet.
    pub(crate) fn load(certificate: &Certificate, state_dir: &Path) -> Result<Self, String> {
        let chosen = certificate.names.clone();
        let mut origin = match &certificate.source {
            CertificateSource::Files { cert, key } => {
                let mut beside = cert.clone().into_os_string();
                beside.push(".ocsp");
                let watched = |path: &Path| Box::new(Watched::new(path));
                Origin::Files { cert: watched(cert), key: watched(key), ocsp: watched(&PathBuf::from(beside)) }
            }
            CertificateSource::Acme(account) => {
                if chosen.is_empty() {
                    return Err("a certificate to be issued by ACME needs 'names'".to_owned());
                }
                if let Some(wild) = chosen.iter().find(|n| n.starts_with("*.")) {
                    return Err(format!("'{wild}': wildcards are issued by dns-01 only, which lb does not do"));
                }
                Origin::Acme { bundle: Box::new(Watched::new(&store::bundle(state_dir, account, &chosen))) }
            }
        };
        origin.look(SystemTime::UNIX_EPOCH);
        let (pair, stand_in, error) = match (origin.read(&chosen), &origin) {
            (Ok(pair), _) => (pair, false, None),
            (Err(e), Origin::Files { .. }) => return Err(e),
            (Err(e), Origin::Acme { bundle }) => {
                // Absent before the first issue, which is no fault.
                let broken = bundle.content.is_ok().then_some(e);
                (stand_in(&chosen)?, true, broken)
            }
        };
        Ok(Self { chosen, origin, pair, stand_in, error, fault: None })
    }

    /// Reads what has changed; `true` if another certificate is in force now.
    pub(crate) fn poll(&mut self, now: SystemTime) -> bool {
        let read = self.origin.look(now) && self.read();
        let changed = self.pair.age(now) | read;
        let fault = self.pair.fault_at(now);
        if fault != self.fault && !self.stand_in {
            if let Some(fault) = &fault {
                tracing::warn!(certificate = %self.origin.path().display(), "{fault}");
            }
            self.fault = fault;
        }
        changed
    }

    fn read(&mut self) -> bool {
        let path = self.origin.path().display().to_string();
        match self.origin.read(&self.chosen) {
            Ok(pair) => {
                tracing::info!(certificate = path, not_after = pair.not_after_text, "another certificate is in force");
                self.pair = pair;
                self.stand_in = false;
                self.error = None;
                true
            }
            Err(e) => {
                if self.error.as_ref() != Some(&e) && !(self.stand_in && self.origin.is_absent()) {
                    tracing::warn!("a changed certificate is not used: {e}");
                    self.error = Some(e);
                }
                false
            }
        }
    }

    pub(crate) fn view(&self, challenges: &Challenges) -> View {
        let (source, ordered) = match &self.origin {
            Origin::Files { .. } => ("file", None),
            Origin::Acme { bundle } => ("acme", challenges.fault(bundle.path())),
        };
        let waiting = self.stand_in.then(|| "not issued yet: a self-signed certificate serves".to_owned());
        let path = (!self.stand_in).then(|| self.origin.path().display().to_string());
        View {
            names: if self.chosen.is_empty() { self.pair.names.clone() } else { self.chosen.clone() },
            issuer: Some(self.pair.issuer.clone()),
            not_after: Some(self.pair.not_after_text.clone()),
            source,
            path,
            error: self.error.clone().or(ordered).or_else(|| self.fault.clone()).or(waiting),
        }
    }
}

fn stand_in(names: &[String]) -> Result<Pair, String> {
    let made = self_signed::generate(names)?;
    let nowhere = Path::new("self-signed");
    Pair::new(
        &Contents { cert: (nowhere, made.certificate.as_bytes()), key: (nowhere, made.key.as_bytes()), ocsp: None },
        names,
    )
}

impl Origin {
    /// Of the certificate.
    fn path(&self) -> &Path {
        match self {
            Self::Files { cert, .. } => cert.path(),
            Self::Acme { bundle } => bundle.path(),
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Acme { bundle } if bundle.content.is_err())
    }

    /// Looks at every file, whichever has changed.
    fn look(&mut self, now: SystemTime) -> bool {
        match self {
            Self::Files { cert, key, ocsp } => cert.look(now) | key.look(now) | ocsp.look(now),
            Self::Acme { bundle } => bundle.look(now),
        }
    }

    fn read(&self, wanted: &[String]) -> Result<Pair, String> {
        let contents = match self {
            Self::Files { cert, key, ocsp } => Contents {
                cert: (cert.path(), cert.content.as_ref()?),
                key: (key.path(), key.content.as_ref()?),
                ocsp: ocsp.content.as_ref().ok().map(Vec::as_slice),
            },
            Self::Acme { bundle } => {
                let both = (bundle.path(), bundle.content.as_ref()?.as_slice());
                Contents { cert: both, key: both, ocsp: None }
            }
        };
        Pair::new(&contents, wanted)
    }
}
