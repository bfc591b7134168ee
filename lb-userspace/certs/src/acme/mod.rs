//! Certificates ordered automatically (RFC 8555): which ones, when, and the task that sees to each.

mod account;
mod order;
mod schedule;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lb_model::http::{AcmeAccount, CertificateSource, Listener};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::challenges::{Challenges, Method};
use crate::pair::{Contents, Pair};
use crate::{pem, store};
use schedule::Schedule;

/// The whole of an order, the authority's visits included.
const PATIENCE: Duration = Duration::from_secs(300);
/// The clock and the file are looked at this often: both may change without our doing.
const LOOK: Duration = Duration::from_secs(60);

/// One certificate to be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Want {
    account: AcmeAccount,
    names: Vec<String>,
    by: Method,
}

/// Orders certificates until dropped. What has been issued stays in the state directory, where listeners find it.
#[derive(Debug)]
pub struct Acme {
    runtime: Handle,
    shared: Arc<Shared>,
    running: Mutex<HashMap<Want, AbortHandle>>,
}

#[derive(Debug)]
struct Shared {
    state_dir: PathBuf,
    challenges: Arc<Challenges>,
    /// One at a time, so that two certificates do not make two accounts.
    accounts: tokio::sync::Mutex<()>,
}

/// Nothing is ordered before [`Acme::set`].
#[must_use]
pub fn start(runtime: &Handle, state_dir: &Path, challenges: &Arc<Challenges>) -> Acme {
    let shared = Shared {
        state_dir: state_dir.to_owned(),
        challenges: Arc::clone(challenges),
        accounts: tokio::sync::Mutex::default(),
    };
    Acme { runtime: runtime.clone(), shared: Arc::new(shared), running: Mutex::default() }
}

impl Acme {
    /// All listeners in force, also those without certificates: where one of them is clear text, names are validated there
    /// by http-01, else by tls-alpn-01. An order under way for a certificate that stays goes on.
    pub fn set<'a>(&self, listeners: impl Iterator<Item = &'a Listener> + Clone) {
        let wanted = wants(listeners);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|want, task| {
            let stays = wanted.contains(want);
            if !stays {
                task.abort();
            }
            stays
        });
        for want in wanted {
            running.entry(want).or_insert_with_key(|want| {
                self.runtime.spawn(keep(want.clone(), Arc::clone(&self.shared))).abort_handle()
            });
        }
    }
}

impl Drop for Acme {
    fn drop(&mut self) {
        for task in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

fn wants<'a>(listeners: impl Iterator<Item = &'a Listener> + Clone) -> Vec<Want> {
    let by = if listeners.clone().any(|l| !l.is_tls()) { Method::Http } else { Method::TlsAlpn };
    let mut wants: Vec<Want> = Vec::new();
    for certificate in listeners.flat_map(|l| &l.certificates) {
        let CertificateSource::Acme(account) = &certificate.source else { continue };
        let mut names = certificate.names.clone();
        names.sort_unstable();
        names.dedup();
        let want = Want { account: account.clone(), names, by };
        if !wants.contains(&want) {
            wants.push(want);
        }
    }
    wants
}

/// Keeps one certificate valid, for ever.
async fn keep(want: Want, shared: Arc<Shared>) {
    let bundle = store::bundle(&shared.state_dir, &want.account, &want.names);
    let mut schedule = Schedule::default();
    loop {
        let validity = read(&bundle, &want.names).ok().map(|p| (p.not_before, p.not_after));
        let wait = schedule.wait(validity, now());
        if !wait.is_zero() {
            tokio::time::sleep(wait.min(LOOK)).await;
            continue;
        }
        let names = want.names.join(", ");
        tracing::info!(names, directory = want.account.directory, "ordering a certificate");
        let result = match tokio::time::timeout(PATIENCE, obtain(&want, &shared, &bundle)).await {
            Ok(result) => result,
            Err(_) => Err(format!("not issued within {} s", PATIENCE.as_secs())),
        };
        match result {
            Ok(pair) => {
                tracing::info!(names, not_after = pair.not_after_text, "a certificate was issued");
                schedule.issued((pair.not_before, pair.not_after), now());
                shared.challenges.note(&bundle, None);
            }
            Err(e) => {
                let again = schedule.failed(now());
                tracing::warn!(names, seconds_until_next_try = again.as_secs(), "no certificate was issued: {e}");
                shared.challenges.note(&bundle, Some(format!("not issued: {e}")));
            }
        }
    }
}

/// Orders, checks what came, and keeps it.
async fn obtain(want: &Want, shared: &Shared, bundle: &Path) -> Result<Pair, String> {
    let account = {
        let _one_at_a_time = shared.accounts.lock().await;
        account::open(&shared.state_dir, &want.account).await?
    };
    let issued = order::run(&account, want, &shared.challenges).await.inspect_err(|e| {
        if e.contains("accountDoesNotExist") {
            // The authority has forgotten us: the next try makes another account.
            let _gone_already = std::fs::remove_file(store::account(&shared.state_dir, &want.account));
        }
    })?;
    let text = format!("{}{}", issued.key, issued.chain);
    let pair = understand(bundle, text.as_bytes(), &want.names)?;
    let path = bundle.to_owned();
    let written = tokio::task::spawn_blocking(move || store::write(&path, text.as_bytes())).await;
    written.map_err(|e| e.to_string())??;
    Ok(pair)
}

fn read(bundle: &Path, names: &[String]) -> Result<Pair, String> {
    understand(bundle, &pem::read(bundle)?, names)
}

fn understand(bundle: &Path, bytes: &[u8], names: &[String]) -> Result<Pair, String> {
    Pair::new(&Contents { cert: (bundle, bytes), key: (bundle, bytes), ocsp: None }, names)
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the edge: what is decided by it is decided in Schedule")]
    SystemTime::now()
}
