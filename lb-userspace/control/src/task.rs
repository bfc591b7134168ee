//! The one task that drives the [`Core`]: requests, reports, answers, file changes and the beat, one at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lb_health::Report;
use lb_model::{HostName, OnExit};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::core::Core;
use crate::error::CommandError;
use crate::handle::Request;
use crate::handover::cut_off;
use crate::names::Answer;
use crate::resolver::Resolve;
use crate::state::Now;
use crate::view::View;
use crate::watch::FileWatch;

const BEAT: Duration = Duration::from_millis(100);
/// A file that is being written is left alone until it has been still for so long.
const STILL: Duration = Duration::from_millis(200);
/// But no longer than this: its directory may be a busy one.
const LONGEST_STIR: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) core: Core,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) last: watch::Sender<Arc<View>>,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// The file's text as last read, to tell a change from a touch.
    pub(crate) text: Option<Vec<u8>>,
}

#[expect(clippy::disallowed_methods, reason = "the control plane's one look at the clock on the wall")]
pub(crate) fn now() -> Now {
    Now { instant: tokio::time::Instant::now().into_std(), wall: std::time::SystemTime::now() }
}

/// Runs what may take a while (system calls of the data plane, files) without holding up the runtime's other tasks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Task {
    pub(crate) async fn run(mut self) {
        let (stirred, mut file) = mpsc::channel(1);
        let path = self.core.config_path();
        let _watch = path.as_deref().and_then(|p| self.watch_file(p, stirred.clone()));
        // When a stirred file is read at the latest, and when if it stays still.
        let mut settles: Option<(tokio::time::Instant, tokio::time::Instant)> = None;
        let mut answers: JoinSet<(HostName, Answer)> = JoinSet::new();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.requests.recv() => {
                    let Some(request) = request else {
                        // Nobody is left to ask for anything: as if told to end.
                        match blocking(|| self.end(None)) {
                            Ok(line) => info!("{line}"),
                            Err(why) => warn!("the data plane was not let go cleanly: {why}"),
                        }
                        return;
                    };
                    if blocking(|| self.serve(request)) {
                        return;
                    }
                }
                Some(report) = self.reports.recv() => {
                    let mut reports = vec![report];
                    while let Ok(report) = self.reports.try_recv() {
                        reports.push(report);
                    }
                    blocking(|| self.core.observed(reports, now().instant));
                }
                Some(answer) = answers.join_next() => {
                    if let Ok((host, answer)) = answer {
                        blocking(|| self.core.resolved(&host, answer, now()));
                    }
                }
                Some(()) = file.recv() => {
                    let now = tokio::time::Instant::now();
                    let (latest, _) = *settles.get_or_insert((now + LONGEST_STIR, now));
                    settles = Some((latest, (now + STILL).min(latest)));
                }
                () = until(settles.map(|s| s.1)) => {
                    settles = None;
                    self.file_stirred(path.clone());
                }
                _ = beat.tick() => {
                    for host in blocking(|| self.core.beat(now())) {
                        let asked = self.resolver.resolve(host.clone());
                        answers.spawn(async move { (host, asked.await) });
                    }
                }
            }
        }
    }

    fn watch_file(&mut self, path: &std::path::Path, stirred: mpsc::Sender<()>) -> Option<FileWatch> {
        match FileWatch::start(path, stirred) {
            Ok(watch) => Some(watch),
            Err(why) => {
                let note = format!("{} is not watched for changes ({why}); 'lb reload' reads it", path.display());
                warn!("{note}");
                self.core.notes.push(note);
                None
            }
        }
    }

    /// Reloads if the text is another. A file that is away for the moment is no change.
    fn file_stirred(&mut self, path: Option<PathBuf>) {
        let Some(text) = path.and_then(|p| blocking(|| std::fs::read(p)).ok()) else { return };
        if self.text.as_ref() != Some(&text) {
            self.text = Some(text);
            // Said in the log and in the view.
            let _ = blocking(|| self.core.reload(now()));
        }
    }

    /// Serves one request; true if it was the last. An asker who has gone away is no matter.
    fn serve(&mut self, request: Request) -> bool {
        match request {
            Request::View(reply) => {
                let view = Arc::new(self.core.view(now()));
                self.last.send_replace(Arc::clone(&view));
                let _ = reply.send(view);
            }
            Request::Reload(reply) => {
                self.text = self.core.config_path().and_then(|p| std::fs::read(p).ok());
                let _ = reply.send(self.core.reload(now()));
            }
            Request::Plan { text, path, reply } => {
                let _ = reply.send(self.core.plan(&text, &path, now()));
            }
            Request::Backend { pool, address, command, reply } => {
                let _ = reply.send(self.core.backend(&pool, &address, &command, now()));
            }
            Request::Flows { query, reply } => {
                let _ = reply.send(self.core.flows(&query));
            }
            Request::Explain { from, to, protocol, reply } => {
                let _ = reply.send(self.core.explain(from, to, protocol));
            }
            Request::Http(request) => self.core.http(request),
            Request::Export(reply) => {
                let _ = reply.send(self.core.export());
            }
            Request::HandOver(reply) => drop(reply.send(self.core.hand_over(now()))),
            Request::TakeBack(reply) => {
                self.core.take_back(now());
                let _ = reply.send(());
            }
            Request::Retire(reply) => {
                self.last.send_replace(Arc::new(self.core.view(now())));
                let _ = reply.send(self.core.retire(now));
                return true;
            }
            Request::Detach(reply) => {
                let _ = reply.send(self.end(Some(false)).map_err(CommandError::Refused));
                return true;
            }
            Request::Shutdown(reply) => {
                let line = self.end(None).unwrap_or_else(|why| format!("the data plane was not let go cleanly: {why}"));
                let _ = reply.send(line);
                return true;
            }
        }
        false
    }

    /// Lets the data plane go, as asked or as `[host] on_exit` says.
    fn end(&mut self, keep: Option<bool>) -> Result<String, String> {
        let keep = keep.unwrap_or(self.core.truth.desired.host.on_exit == OnExit::Keep);
        self.last.send_replace(Arc::new(self.core.view(now())));
        let requests = self.core.stop_layer_7();
        let line = self.core.release(keep, now()).map_err(|e| e.to_string())?;
        Ok(format!("{line}{}", cut_off(requests, 0)))
    }
}
