//! The state directory: changes by CLI, drains under way and the last answers for names in one file, counters and
//! what is unhealthy in another, what the data plane holds in a third; written whole or not at all, and versioned.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lb_model::{BackendAddress, BackendId, Weight};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::drain::{Drain, Drains, Key, Phase, Remains, Why};
use crate::former::Former;
use crate::names::Names;
use crate::overrides::{Change, Overrides};
use crate::totals::Totals;

const CHANGES: &str = "overrides.json";
const COUNTERS: &str = "counters.json";
const FORMER: &str = "plane.json";
/// Of every file. A file of another version is kept aside, never overwritten.
pub const VERSION: u32 = 1;

/// Both clocks at one moment: deadlines outlive the process as times of day.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall: SystemTime,
}

impl Now {
    fn millis_at(&self, at: Instant) -> u64 {
        let then = self.wall + at.saturating_duration_since(self.instant);
        u64::try_from(then.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }
    /// A deadline beyond a day is cut: the clock may have been set while nobody looked.
    fn at_millis(&self, millis: u64) -> Instant {
        const LONGEST: Duration = Duration::from_secs(86_400);
        let then = UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(self.wall);
        self.instant + then.duration_since(self.wall).unwrap_or_default().min(LONGEST)
    }
}

/// What one restart remembers for the next.
#[derive(Debug, Default)]
pub struct Memory {
    pub overrides: Overrides,
    pub drains: Drains,
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// What was unhealthy, by the address probed, and why.
    pub down: BTreeMap<SocketAddr, String>,
    pub totals: Totals,
    pub former: Former,
}

#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Everything remembered, and what an operator should know about it, in words. Never fails: what cannot be read is
    /// set aside and said.
    #[must_use]
    pub fn load(&self, now: Now) -> (Memory, Vec<String>) {
        let mut notes = Vec::new();
        if let Err(e) = fs::create_dir_all(&self.path) {
            notes.push(format!("changes by CLI cannot be kept: state directory {}: {e}", self.path.display()));
            return (Memory::default(), notes);
        }
        let changes: Option<Changes> = self.read(CHANGES, &mut notes);
        let mut memory = Memory::default();
        if let Some(seen) = self.read::<Seen>(COUNTERS, &mut notes) {
            (memory.totals, memory.down) = (seen.totals, seen.down);
        }
        memory.former = self.read::<Held>(FORMER, &mut notes).map(|h| h.former).unwrap_or_default();
        if let Some(changes) = changes {
            changes.remember(now, &mut memory, &mut notes);
        }
        (memory, notes)
    }

    fn read<T: DeserializeOwned>(&self, name: &str, notes: &mut Vec<String>) -> Option<T> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let path = self.path.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                notes.push(format!("{}: {e}", path.display()));
                return None;
            }
        };
        let (why, suffix) = match serde_json::from_slice::<Head>(&text) {
            Ok(Head { version: VERSION }) => match serde_json::from_slice(&text) {
                Ok(value) => return Some(value),
                Err(e) => (format!("cannot be read ({e})"), "broken".to_owned()),
            },
            Ok(Head { version }) => {
                (format!("is of version {version}, and this is for version {VERSION}"), format!("version-{version}"))
            }
            Err(e) => (format!("cannot be read ({e})"), "broken".to_owned()),
        };
        let aside = self.path.join(format!("{name}.{suffix}"));
        let kept = match fs::rename(&path, &aside) {
            Ok(()) => format!("kept aside as {}", aside.display()),
            Err(e) => format!("cannot be kept aside: {e}"),
        };
        notes.push(format!("{} {why}; not used, {kept}", path.display()));
        None
    }

    /// # Errors
    /// As the file system says; the file is as it was then.
    pub fn save(&self, overrides: &Overrides, drains: &Drains, names: &Names, now: Now) -> io::Result<()> {
        self.write(CHANGES, &Changes::of(overrides, drains, names, now), true)
    }

    /// # Errors
    /// As the file system says; the file is as it was then.
    pub fn save_seen(&self, totals: &Totals, down: BTreeMap<SocketAddr, String>, durable: bool) -> io::Result<()> {
        self.write(COUNTERS, &Seen { version: VERSION, down, totals: totals.clone() }, durable)
    }

    /// # Errors
    /// As the file system says; the file is as it was then.
    pub fn save_former(&self, former: &Former) -> io::Result<()> {
        self.write(FORMER, &Held { version: VERSION, former: former.clone() }, false)
    }

    /// Beside the old one, onto the disk, and into its place.
    fn write(&self, name: &str, value: &impl Serialize, durable: bool) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let text = serde_json::to_vec(value)?;
        let (path, new) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&new, &path)?;
        if durable { sync_directory(&self.path) } else { Ok(()) }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[derive(Serialize, Deserialize)]
struct Seen {
    version: u32,
    #[serde(default)]
    down: BTreeMap<SocketAddr, String>,
    totals: Totals,
}

#[derive(Serialize, Deserialize)]
struct Held {
    version: u32,
    former: Former,
}

#[derive(Serialize, Deserialize)]
struct Changes {
    version: u32,
    changes: Vec<ChangeRow>,
    #[serde(default)]
    drains: Vec<DrainRow>,
    #[serde(default)]
    names: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRow {
    pool: String,
    address: String,
    #[serde(default, skip_serializing_if = "is_false")]
    added: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    draining: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainRow {
    pool: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale: Option<IpAddr>,
    /// Present: it leaves its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<LeavingRow>,
    phase: PhaseRow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeavingRow {
    weight: u32,
    addresses: Vec<IpAddr>,
    algorithm: String,
    maglev_table_size: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    hidden: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    only_layer_7: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseRow {
    /// Milliseconds since 1970.
    WaitingUntil(u64),
    Expired,
    Drained,
    DrainedByDeadline,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(b: &bool) -> bool {
    !*b
}

impl Changes {
    fn of(overrides: &Overrides, drains: &Drains, names: &Names, now: Now) -> Self {
        let change = |(id, c): (&BackendId, &Change)| ChangeRow {
            pool: id.pool.to_string(),
            address: id.address.to_string(),
            added: c.added,
            removed: c.removed,
            weight: c.weight.map(|w| w.get().into()),
            draining: c.draining,
        };
        let known = names.known().filter(|(_, a)| !a.is_empty());
        Self {
            version: VERSION,
            changes: overrides.iter().map(change).collect(),
            drains: drains.iter().map(|(key, drain)| DrainRow::of(key, drain, now)).collect(),
            names: known.map(|(n, a)| (n.as_str().to_owned(), a.to_vec())).collect(),
        }
    }

    fn remember(self, now: Now, memory: &mut Memory, notes: &mut Vec<String>) {
        let mut changes = Vec::new();
        for row in self.changes {
            let weight = row.weight.map(Weight::new);
            match (backend_id(&row.pool, &row.address), weight) {
                (Some(id), None | Some(Some(_))) => {
                    let (added, removed, draining) = (row.added, row.removed, row.draining);
                    changes.push((id, Change { added, removed, draining, weight: weight.flatten() }));
                }
                _ => notes.push(format!("{CHANGES}: '{}/{}' is no backend; ignored", row.pool, row.address)),
            }
        }
        memory.overrides = changes.into_iter().collect();
        for row in self.drains {
            let name = format!("{}/{}", row.pool, row.address);
            match row.restore(now) {
                Some((key, why, phase)) => memory.drains.restore(key, why, phase),
                None => notes.push(format!("{CHANGES}: the drain of '{name}' makes no sense; ignored")),
            }
        }
        memory.names = self.names;
    }
}

impl DrainRow {
    fn of(key: &Key, drain: &Drain, now: Now) -> Self {
        let leaving = match &drain.why {
            Why::Command => None,
            Why::Leaving { remains, hidden } => Some(LeavingRow {
                weight: remains.weight.get().into(),
                addresses: remains.addresses.clone(),
                algorithm: remains.algorithm.as_str().to_owned(),
                maglev_table_size: remains.maglev_table_size,
                hidden: *hidden,
                only_layer_7: !remains.layer_4,
            }),
        };
        let phase = match drain.phase {
            Phase::Waiting { deadline } => PhaseRow::WaitingUntil(now.millis_at(deadline)),
            Phase::Expired { .. } => PhaseRow::Expired,
            Phase::Done { expired: false } => PhaseRow::Drained,
            Phase::Done { expired: true } => PhaseRow::DrainedByDeadline,
        };
        let BackendId { pool, address } = &key.backend;
        Self { pool: pool.to_string(), address: address.to_string(), stale: key.stale, leaving, phase }
    }

    fn restore(self, now: Now) -> Option<(Key, Why, Phase)> {
        let key = Key { backend: backend_id(&self.pool, &self.address)?, stale: self.stale };
        let why = match self.leaving {
            None if key.stale.is_some() => return None,
            None => Why::Command,
            Some(l) => {
                let (weight, algorithm) = (Weight::new(l.weight)?, l.algorithm.parse().ok()?);
                if !lb_common::maglev::is_prime(l.maglev_table_size) {
                    return None;
                }
                let maglev_table_size = l.maglev_table_size;
                let (addresses, layer_4) = (l.addresses, !l.only_layer_7);
                let remains = Remains { weight, addresses, algorithm, maglev_table_size, layer_4, http: None };
                Why::Leaving { remains, hidden: l.hidden }
            }
        };
        let phase = match self.phase {
            PhaseRow::WaitingUntil(millis) => Phase::Waiting { deadline: now.at_millis(millis) },
            PhaseRow::Expired => Phase::Expired { since: now.instant },
            PhaseRow::Drained => Phase::Done { expired: false },
            PhaseRow::DrainedByDeadline => Phase::Done { expired: true },
        };
        Some((key, why, phase))
    }
}

fn backend_id(pool: &str, address: &str) -> Option<BackendId> {
    Some(BackendId { pool: pool.parse().ok()?, address: address.parse::<BackendAddress>().ok()? })
}
