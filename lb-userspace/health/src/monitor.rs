//! The task that probes: it keeps the schedule, runs what is due and sends what changed.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::{Outcome, ProbeId, Report, Schedule, Watch, probe};

/// Probes on the wire at once; each holds a file descriptor. The others wait their turn, and their timeout starts then.
const AT_ONCE: usize = 512;

/// The probing task's handle; it ends when this is dropped.
#[derive(Clone, Debug)]
pub struct Monitor {
    targets: mpsc::UnboundedSender<Vec<Watch>>,
}

impl Monitor {
    /// Starts the task inside the current tokio runtime. Reports go to `reports`; `seed` decides the jitter.
    #[must_use]
    pub fn start(reports: mpsc::UnboundedSender<Report>, seed: u64) -> Self {
        let (targets, asked) = mpsc::unbounded_channel();
        tokio::spawn(task(asked, reports, seed));
        Self { targets }
    }

    /// Watches these targets and no others from now on; see [`Schedule::watch`].
    pub fn watch(&self, targets: Vec<Watch>) {
        // The task only ends with the runtime.
        let _ = self.targets.send(targets);
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn task(mut asked: mpsc::UnboundedReceiver<Vec<Watch>>, reports: mpsc::UnboundedSender<Report>, seed: u64) {
    let mut schedule = Schedule::new(seed);
    let mut running: JoinSet<(ProbeId, Outcome)> = JoinSet::new();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        while let Some((id, target)) = schedule.start(now()) {
            let room = Arc::clone(&room);
            running.spawn(async move {
                let _place = room.acquire_owned().await;
                (id, probe::run(&target).await)
            });
        }
        let wake = schedule.next_wake();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            targets = asked.recv() => match targets {
                Some(targets) => schedule.watch(targets, now()),
                None => return,
            },
            Some(done) = running.join_next() => {
                let Ok((id, outcome)) = done else { continue };
                if let Some(report) = schedule.finish(id, outcome, now()) && reports.send(report).is_err() {
                    return;
                }
            }
            () = sleep => {}
        }
    }
}
