//! What is done beside the workers: certificates that changed on disk are looked for each second, and ordered by ACME.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lb_certs::acme::{self, Acme};
use lb_certs::{Challenges, ServerTls};
use lb_model::http::Listener;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::clock;

const EVERY: Duration = Duration::from_secs(1);

/// Ends when dropped.
#[derive(Debug)]
pub(crate) struct Chores {
    certificates: Arc<Mutex<Vec<Arc<ServerTls>>>>,
    acme: Acme,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Chores {
    /// # Errors
    /// If there is no thread or runtime to be had.
    pub(crate) fn start(state_dir: &Path, challenges: &Arc<Challenges>) -> std::io::Result<Self> {
        let certificates: Arc<Mutex<Vec<Arc<ServerTls>>>> = Arc::default();
        let watched = Arc::clone(&certificates);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let acme = acme::start(runtime.handle(), state_dir, challenges);
        let thread = std::thread::Builder::new().name("lb-http-chores".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = look(&watched) => {}
                    _ = ended => {}
                }
            });
        })?;
        Ok(Self { certificates, acme, end: Some(end), thread: Some(thread) })
    }

    pub(crate) fn watch(&self, certificates: Vec<Arc<ServerTls>>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// Certificates of these listeners that come from an authority are ordered, and renewed in time.
    pub(crate) fn order<'a>(&self, listeners: impl Iterator<Item = &'a Listener> + Clone) {
        self.acme.set(listeners);
    }
}

async fn look(watched: &Mutex<Vec<Arc<ServerTls>>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let list = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for certificates in list {
            certificates.poll(clock::wall());
        }
    }
}

impl Drop for Chores {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
