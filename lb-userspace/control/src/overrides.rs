//! Changes made by CLI, laid over the file: each holds its attribute until it is undone; the file says everything else.

use std::collections::BTreeMap;

use lb_model::{BackendAddress, BackendId, Desired, Name, Weight};

use crate::view::Origin;

/// What the CLI has said of one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// It is in the pool although the file does not have it.
    pub added: bool,
    /// It is out of the pool although the file has it.
    pub removed: bool,
    pub weight: Option<Weight>,
    /// It takes no new flows.
    pub draining: bool,
}

impl Change {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    changes: BTreeMap<BackendId, Change>,
}

/// A backend of a pool as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub address: BackendAddress,
    pub weight: Weight,
    pub draining: bool,
    pub backup: bool,
    pub origin: Origin,
}

impl Overrides {
    #[must_use]
    pub fn get(&self, id: &BackendId) -> Option<&Change> {
        self.changes.get(id)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&BackendId, &Change)> {
        self.changes.iter()
    }
    /// Changes what is said of one backend; what comes down to nothing is forgotten.
    pub fn edit(&mut self, id: &BackendId, edit: impl FnOnce(&mut Change)) {
        let change = self.changes.entry(id.clone()).or_default();
        edit(change);
        if change.is_nothing() {
            self.changes.remove(id);
        }
    }
    pub fn forget(&mut self, id: &BackendId) {
        self.changes.remove(id);
    }

    /// The pool's backends, the file's in the file's order, then those added. `None` if there is no such pool.
    #[must_use]
    pub fn entries(&self, desired: &Desired, pool: &Name) -> Option<Vec<Entry>> {
        let written = desired.pools.get(pool)?.backends();
        let of_file = |b: &lb_model::Backend| {
            let change = self.changes.get(&BackendId { pool: pool.clone(), address: b.address.clone() });
            let change = change.cloned().unwrap_or_default();
            (!change.removed).then(|| Entry {
                address: b.address.clone(),
                weight: change.weight.unwrap_or(b.weight),
                draining: change.draining,
                backup: b.backup,
                origin: Origin::File,
            })
        };
        let mut out: Vec<Entry> = written.iter().filter_map(of_file).collect();
        let added = self.changes.iter().filter(|(id, c)| id.pool == *pool && c.added);
        let added = added.filter(|(id, _)| !written.iter().any(|b| b.address == id.address));
        out.extend(added.map(|(id, c)| Entry {
            address: id.address.clone(),
            weight: c.weight.unwrap_or_default(),
            draining: c.draining,
            backup: false,
            origin: Origin::Cli,
        }));
        Some(out)
    }

    /// Each change in words, those that the file gives nothing to act on marked so.
    #[must_use]
    pub fn words(&self, desired: &Desired) -> Vec<String> {
        let mut out = Vec::new();
        for (id, change) in &self.changes {
            let pool = desired.pools.get(&id.pool);
            let written = pool.and_then(|p| p.backends().iter().find(|b| b.address == id.address));
            let idle = match (pool, written) {
                (None, _) => " (not in force: the file has no such pool)",
                (_, None) if !change.added => " (not in force: the file has no such backend)",
                _ => "",
            };
            let mut say = |what: String| out.push(format!("{id}: {what}{idle}"));
            if change.added && written.is_none() {
                say(format!("added, weight {}", change.weight.unwrap_or_default().get()));
            } else if let Some(weight) = change.weight {
                match written {
                    Some(b) => say(format!("weight {} (the file says {})", weight.get(), b.weight.get())),
                    None => say(format!("weight {}", weight.get())),
                }
            }
            if change.removed {
                say("removed".into());
            }
            if change.draining {
                say("drained".into());
            }
        }
        out
    }

    /// The desired state with every change written into it, as a file would have it. Draining has no word in the file
    /// and is told by weight 0: no new flows.
    ///
    /// # Errors
    /// If a pool would have more backends than a pool can.
    pub fn written_into(&self, desired: &Desired) -> Result<Desired, lb_model::pool::BadPool> {
        let mut out = desired.clone();
        for (name, pool) in &mut out.pools {
            let entries = self.entries(desired, name).unwrap_or_default();
            let weight = |e: &Entry| if e.draining { Weight::new(0).unwrap_or_default() } else { e.weight };
            let backends = entries.iter().map(|e| lb_model::Backend {
                address: e.address.clone(),
                weight: weight(e),
                backup: e.backup,
            });
            let mut with = lb_model::Pool::new(name.clone(), pool.algorithm, backends.collect())?;
            with.maglev_table_size = pool.maglev_table_size;
            with.on_all_down = pool.on_all_down;
            with.health = pool.health.clone();
            with.http = pool.http.clone();
            *pool = with;
        }
        Ok(out)
    }
}

impl FromIterator<(BackendId, Change)> for Overrides {
    fn from_iter<I: IntoIterator<Item = (BackendId, Change)>>(changes: I) -> Self {
        Self { changes: changes.into_iter().filter(|(_, c)| !c.is_nothing()).collect() }
    }
}
