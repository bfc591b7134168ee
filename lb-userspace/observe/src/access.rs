//! Access lines on their way to a file or standard output: written by a thread of their own, dropped rather than waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Buffers that may wait to be written; each holds the lines of a moment.
const WAITING: usize = 128;

#[derive(Debug)]
enum Job {
    Lines(Vec<u8>),
    Reopen,
}

/// Cheap to clone; lines are written in the order in which one clone submits them. The last clone's drop waits until all
/// is written.
#[derive(Clone, Debug)]
pub struct AccessLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    dropped: AtomicU64,
}

enum Out {
    Stdout,
    File { path: PathBuf, file: File },
}

impl AccessLog {
    /// `path`: appended to and made if absent; `None`: standard output.
    ///
    /// # Errors
    /// If the file cannot be opened, or a thread cannot be had.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut out = match path {
            None => Out::Stdout,
            Some(path) => Out::File { path: path.to_owned(), file: append(path)? },
        };
        let (jobs, waiting) = sync_channel(WAITING);
        let writer =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || run(&waiting, &mut out))?;
        let inner = Inner { jobs: Some(jobs), writer: Some(writer), dropped: AtomicU64::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whole lines, each with its end; `count` of them. Never waits.
    pub fn submit(&self, lines: Vec<u8>, count: u64) {
        let taken = self.inner.jobs.as_ref().is_some_and(|j| j.try_send(Job::Lines(lines)).is_ok());
        if !taken {
            self.inner.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Opens the file anew after what was submitted so far, for rotation.
    pub fn reopen(&self) {
        if let Some(jobs) = &self.inner.jobs {
            let _gone = jobs.send(Job::Reopen);
        }
    }

    /// Lines that were not written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn run(jobs: &Receiver<Job>, out: &mut Out) {
    let mut failing = false;
    while let Ok(job) = jobs.recv() {
        let done = match job {
            Job::Lines(lines) => match out {
                Out::Stdout => io::stdout().lock().write_all(&lines).and_then(|()| io::stdout().flush()),
                Out::File { file, .. } => file.write_all(&lines),
            },
            Job::Reopen => match out {
                Out::Stdout => Ok(()),
                Out::File { path, file } => append(path).map(|new| *file = new),
            },
        };
        match done {
            Ok(()) => failing = false,
            Err(e) if !failing => {
                failing = true;
                tracing::error!("the access log cannot be written: {e}");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_the_file_is_opened_anew() {
        let folder = std::env::temp_dir().join(format!("lb-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (path, moved) = (folder.join("access.log"), folder.join("access.log.1"));
        let log = AccessLog::open(Some(&path)).expect("a file");
        log.submit(b"one\n".to_vec(), 1);
        let copy = log.clone();
        // A rename does not disturb what is open; lines go to the new file after `reopen`.
        drop(log);
        copy.submit(b"two\n".to_vec(), 1);
        while std::fs::read(&path).expect("text").len() < 8 {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &moved).expect("a rename");
        copy.reopen();
        copy.submit(b"three\n".to_vec(), 1);
        drop(copy);
        assert_eq!(std::fs::read_to_string(&moved).expect("text"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "three\n");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
