//! What was purged, and when by a count of purges: so that nothing older comes back, from a fetch under way or from disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One line of the journal. URLs are normal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Key(String),
    Prefix(String),
    Tag(String),
    All,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: u64,
    what: What,
}

/// Entries, at most; then the older half becomes one "all before".
const MOST: usize = 50_000;
/// Prefixes are compared one by one.
const MOST_PREFIXES: usize = 1_000;

#[derive(Debug, Default)]
struct State {
    now: u64,
    all: u64,
    keys: HashMap<String, u64>,
    tags: HashMap<Vec<u8>, u64>,
    prefixes: Vec<(String, u64)>,
    journal: Option<(PathBuf, File)>,
}

/// Numbers grow by one with each purge. A response that was asked for at number n is gone by every later purge that
/// matches it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    id: AtomicU64,
    state: Mutex<State>,
}

impl State {
    fn note(&mut self, what: &What, at: u64) {
        self.now = self.now.max(at);
        match what {
            What::Key(url) => drop(self.keys.insert(url.clone(), at)),
            What::Tag(tag) => drop(self.tags.insert(tag.clone().into_bytes(), at)),
            What::Prefix(prefix) => {
                self.prefixes.retain(|(p, _)| !p.starts_with(prefix.as_str()));
                self.prefixes.push((prefix.clone(), at));
            }
            What::All => self.forget_until(at),
        }
    }

    /// Everything asked for before `at` counts as purged.
    fn forget_until(&mut self, at: u64) {
        self.all = self.all.max(at);
        self.keys.retain(|_, a| *a > at);
        self.tags.retain(|_, a| *a > at);
        self.prefixes.retain(|(_, a)| *a > at);
    }

    fn len(&self) -> usize {
        self.keys.len() + self.tags.len() + self.prefixes.len()
    }

    fn shorten(&mut self) -> bool {
        if self.len() <= MOST && self.prefixes.len() <= MOST_PREFIXES {
            return false;
        }
        let ages = self.keys.values().chain(self.tags.values()).chain(self.prefixes.iter().map(|(_, a)| a));
        let mut ages: Vec<u64> = ages.copied().collect();
        ages.sort_unstable();
        let prefixes = self.prefixes.get(self.prefixes.len().saturating_sub(MOST_PREFIXES / 2)).map_or(0, |(_, a)| *a);
        let middle = ages.get(ages.len() / 2).copied().unwrap_or(0);
        self.forget_until(if self.prefixes.len() > MOST_PREFIXES { middle.max(prefixes) } else { middle });
        true
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line { at: self.all, what: What::All }];
        lines.extend(self.keys.iter().map(|(url, at)| Line { at: *at, what: What::Key(url.clone()) }));
        let tag = |t: &[u8]| What::Tag(String::from_utf8_lossy(t).into_owned());
        lines.extend(self.tags.iter().map(|(t, at)| Line { at: *at, what: tag(t) }));
        lines.extend(self.prefixes.iter().map(|(p, at)| Line { at: *at, what: What::Prefix(p.clone()) }));
        lines.sort_by_key(|l| l.at);
        lines
    }
}

impl Ledger {
    /// Goes on with the journal in this file, made if it is not there. What was purged so far counts as purged after all
    /// that the journal has.
    ///
    /// # Errors
    /// Of reading and writing it.
    pub(crate) fn attach(&self, path: &Path, fresh_id: u64) -> io::Result<()> {
        let (read, id) = read(path)?;
        let mut state = self.state();
        let mut all = read;
        let late = state.lines();
        let at = all.now.max(state.now) + 1;
        for line in late.iter().filter(|line| line.at > 0) {
            all.note(&line.what, at);
        }
        all.now = at;
        let id = id.unwrap_or(fresh_id);
        all.journal = Some((path.to_owned(), write_anew(path, id, &all)?));
        *state = all;
        self.id.store(id, Ordering::Release);
        Ok(())
    }

    /// Tells this journal from one that was lost: what is on disk belongs to one of them.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> u64 {
        self.state().now
    }

    /// Notes a purge; on return it survives a restart. `sure`: a person waits for that, so it is on the disk, not only in
    /// the kernel.
    pub(crate) fn purge(&self, what: What, sure: bool) {
        let mut state = self.state();
        let at = state.now + 1;
        state.note(&what, at);
        let shortened = state.shorten();
        let Some((path, mut file)) = state.journal.take() else { return };
        let written = if shortened {
            write_anew(&path, self.id(), &state).map(|new| file = new)
        } else {
            let line = serde_json::to_string(&Line { at, what }).unwrap_or_default();
            file.write_all(format!("{line}\n").as_bytes())
        };
        let mut to_sync = (sure && written.is_ok()).then(|| file.try_clone());
        if let Err(e) = written {
            // Without a journal nothing from this disk may be trusted at the next start.
            tracing::error!(path = %path.display(), error = %e, "the cache's journal of purges cannot be written");
            let _ = std::fs::remove_file(&path);
        }
        state.journal = Some((path, file));
        drop(state);
        // Without the lock: requests look things up meanwhile.
        if let Some(Err(e)) = to_sync.take().map(|file| file.and_then(|f| f.sync_data())) {
            tracing::error!(error = %e, "a purge may not survive a loss of power");
        }
    }

    /// Was this purged after it was asked for?
    pub(crate) fn covers(&self, url: &str, tags: &[Bytes], born: u64) -> bool {
        let state = self.state();
        if state.now <= born {
            return false;
        }
        state.all > born
            || state.keys.get(url).is_some_and(|at| *at > born)
            || tags.iter().any(|t| state.tags.get(&**t).is_some_and(|at| *at > born))
            || state.prefixes.iter().any(|(p, at)| *at > born && url.starts_with(p.as_str()))
    }
}

/// A journal's contents and its id; without one if it is not whole, so that nothing stored under the old one is used.
fn read(path: &Path) -> io::Result<(State, Option<u64>)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
        Err(e) => return Err(e),
    };
    let mut state = State::default();
    let mut lines = text.lines().peekable();
    let id = lines.next().and_then(|l| l.parse::<u64>().ok());
    let mut sound = id.is_some();
    while let Some(line) = lines.next() {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => state.note(&line.what, line.at),
            // The last line of a write that was cut short: nobody was told that it was done.
            Err(_) if lines.peek().is_none() && !text.ends_with('\n') => {}
            Err(_) => sound = false,
        }
    }
    Ok((state, id.filter(|_| sound)))
}

fn write_anew(path: &Path, id: u64, state: &State) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = File::options().create(true).write(true).truncate(true).open(&new)?;
    let mut text = format!("{id}\n");
    for line in state.lines() {
        text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&new, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&'static str]) -> Vec<Bytes> {
        list.iter().map(|t| Bytes::from_static(t.as_bytes())).collect()
    }

    #[test]
    fn what_is_purged_is_older() {
        let ledger = Ledger::default();
        let born = ledger.now();
        ledger.purge(What::Tag("news".to_owned()), true);
        ledger.purge(What::Prefix("http://a.test/x".to_owned()), true);
        assert!(ledger.covers("http://b.test/", &tags(&["old", "news"]), born));
        assert!(ledger.covers("http://a.test/xy", &[], born));
        assert!(!ledger.covers("http://a.test/y", &tags(&["old"]), born));
        assert!(!ledger.covers("http://a.test/xy", &tags(&["news"]), ledger.now()), "asked for afterwards");
        ledger.purge(What::All, true);
        assert!(ledger.covers("http://c.test/", &[], born + 2));
    }

    #[test]
    fn the_journal_survives_and_a_lost_one_has_another_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("purges");
        let open = |id| {
            let ledger = Ledger::default();
            ledger.attach(&path, id).expect("a journal");
            ledger
        };
        let ledger = open(7);
        let born = ledger.now();
        ledger.purge(What::Key("http://a.test/".to_owned()), true);
        let again = open(8);
        assert_eq!(again.id(), 7);
        assert!(again.covers("http://a.test/", &[], born));
        assert!(!again.covers("http://a.test/", &[], again.now()));
        std::fs::write(&path, "7\n{\"at\":2,\"wh").expect("cut short");
        assert_eq!(open(8).id(), 7);
        std::fs::write(&path, "7\nnonsense\n{\"at\":2,\"what\":\"all\"}\n").expect("broken");
        assert_eq!(open(8).id(), 8);
    }

    #[test]
    fn what_was_purged_before_the_journal_was_there_counts_as_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("purges");
        let old = Ledger::default();
        old.attach(&path, 7).expect("a journal");
        for _ in 0..5 {
            old.purge(What::Tag("x".to_owned()), false);
        }
        let on_disk = old.now();
        let new = Ledger::default();
        new.purge(What::Key("http://a.test/".to_owned()), true);
        new.attach(&path, 8).expect("the same");
        assert!(new.covers("http://a.test/", &[], on_disk));
        assert!(!new.covers("http://b.test/", &tags(&["x"]), on_disk));
        assert!(new.covers("http://b.test/", &tags(&["x"]), on_disk - 1));
    }

    #[test]
    fn it_stays_small_and_forgets_on_the_safe_side() {
        let ledger = Ledger::default();
        for i in 0..=MOST_PREFIXES {
            ledger.purge(What::Prefix(format!("http://a.test/{i:05}/")), false);
        }
        assert!(ledger.state().prefixes.len() <= MOST_PREFIXES);
        assert!(ledger.covers("http://a.test/00000/x", &[], 0));
        assert!(ledger.covers("http://a.test/01000/x", &[], 0));
    }
}
