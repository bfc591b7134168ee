//! What was purged, and when by a count of purges: so that nothing older comes back, from a fetch under way or from disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
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
    /// Tells this journal from one that was lost: what is on disk belongs to one of them.
    pub(crate) id: u64,
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
    /// With the journal in this file; made if it is not there.
    ///
    /// # Errors
    /// Of reading and writing it.
    pub(crate) fn open(path: &Path, fresh_id: u64) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            // Not text: begun anew under another id, so that nothing stored under the old one is used.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(e) => return Err(e),
        };
        let mut state = State::default();
        let mut lines = text.lines();
        let id = lines.next().and_then(|l| l.parse::<u64>().ok());
        let complete = text.ends_with('\n');
        let mut lines = lines.peekable();
        let mut sound = id.is_some();
        while let Some(line) = lines.next() {
            match serde_json::from_str::<Line>(line) {
                Ok(line) => state.note(&line.what, line.at),
                // The last line of a write that was cut short: nobody was told that it was done.
                Err(_) if lines.peek().is_none() && !complete => {}
                Err(_) => sound = false,
            }
        }
        let id = id.filter(|_| sound).unwrap_or(fresh_id);
        state.journal = Some((path.to_owned(), write_anew(path, id, &state)?));
        Ok(Self { id, state: Mutex::new(state) })
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
            write_anew(&path, self.id, &state).map(|new| file = new)
        } else {
            let line = serde_json::to_string(&Line { at, what }).unwrap_or_default();
            file.write_all(format!("{line}\n").as_bytes()).and_then(|()| if sure { file.sync_data() } else { Ok(()) })
        };
        if let Err(e) = written {
            // Without a journal nothing from this disk may be trusted at the next start.
            tracing::error!(path = %path.display(), error = %e, "the cache's journal of purges cannot be written");
            let _ = std::fs::remove_file(&path);
        }
        state.journal = Some((path, file));
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
        let ledger = Ledger::open(&path, 7).expect("new");
        ledger.purge(What::Key("http://a.test/".to_owned()), true);
        let again = Ledger::open(&path, 8).expect("again");
        assert_eq!((again.id, again.now()), (7, 1));
        assert!(again.covers("http://a.test/", &[], 0));
        std::fs::write(&path, "7\n{\"at\":2,\"wh").expect("cut short");
        assert_eq!(Ledger::open(&path, 8).expect("cut").id, 7);
        std::fs::write(&path, "7\nnonsense\n{\"at\":2,\"what\":\"all\"}\n").expect("broken");
        assert_eq!(Ledger::open(&path, 8).expect("broken").id, 8);
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
