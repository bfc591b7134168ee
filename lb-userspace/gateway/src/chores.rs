//! What is done every second beside the workers: certificates that changed on disk are looked for.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lb_certs::ServerTls;

use crate::clock;

const EVERY: Duration = Duration::from_secs(1);

/// Ends when dropped.
#[derive(Debug)]
pub(crate) struct Chores {
    certificates: Arc<Mutex<Vec<Arc<ServerTls>>>>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Chores {
    /// # Errors
    /// If there is no thread to be had.
    pub(crate) fn start() -> std::io::Result<Self> {
        let certificates: Arc<Mutex<Vec<Arc<ServerTls>>>> = Arc::default();
        let watched = Arc::clone(&certificates);
        let (end, ended) = channel();
        let thread = std::thread::Builder::new().name("lb-http-chores".to_owned()).spawn(move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let list = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for certificates in list {
                    certificates.poll(clock::wall());
                }
            }
        })?;
        Ok(Self { certificates, end: Some(end), thread: Some(thread) })
    }

    pub(crate) fn watch(&self, certificates: Vec<Arc<ServerTls>>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
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
