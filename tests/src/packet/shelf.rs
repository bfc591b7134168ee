//! Loaded programs that are used again: loading one takes a thousand times as long as running a packet.

use std::sync::{Mutex, PoisonError};

use aya::Pod;
use aya::maps::lpm_trie::LpmTrie;
use lb_common::backend::{Backend, Load};
use lb_common::flow::{Affinity, ClientKey, Flow, FlowKey4, FlowKey6};
use lb_common::net::Addr;
use lb_common::service::{RangeKey, ServiceKey4, ServiceKey6};

use super::program::Program;
use super::world::World;

/// Programs nobody uses just now.
static SHELF: Mutex<Vec<Program>> = Mutex::new(Vec::new());

/// A program with a world published to it and nothing left of earlier ones but their counts. It goes back on the shelf
/// when it is dropped, unless a test has failed with it in hand.
#[derive(Debug)]
pub struct Borrowed(Option<Program>);

#[must_use]
pub fn borrow(world: &World) -> Borrowed {
    let found = {
        let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.iter().position(|p| p.flow_table_size() == world.flows).map(|i| shelf.swap_remove(i))
    };
    let mut program = found.unwrap_or_else(|| Program::load(world.flows));
    program.clear();
    program.publish(world);
    Borrowed(Some(program))
}

impl std::ops::Deref for Borrowed {
    type Target = Program;
    fn deref(&self) -> &Program {
        self.0.as_ref().expect("held until dropped")
    }
}

impl std::ops::DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Program {
        self.0.as_mut().expect("held until dropped")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let (Some(program), false) = (self.0.take(), std::thread::panicking()) {
            SHELF.lock().unwrap_or_else(PoisonError::into_inner).push(program);
        }
    }
}

impl Program {
    /// Empties every table. Counters are left: they are compared by difference.
    fn clear(&mut self) {
        self.empty::<ServiceKey4, u32>("SERVICES4");
        self.empty::<ServiceKey6, u32>("SERVICES6");
        self.empty::<Addr, u32>("ADDRESSES");
        self.empty::<FlowKey4, Flow>("FLOWS4");
        self.empty::<FlowKey4, Flow>("FRESH4");
        self.empty::<FlowKey6, Flow>("FLOWS6");
        self.empty::<FlowKey6, Flow>("FRESH6");
        self.empty::<ClientKey, Affinity>("AFFINITY");
        self.empty::<ClientKey, u64>("RATES");
        let mut ranges: LpmTrie<_, RangeKey, u32> = self.map("RANGES");
        for key in ranges.keys().collect::<Result<Vec<_>, _>>().expect("iterate") {
            ranges.remove(&key).expect("remove");
        }
        let (pools, backends) = self.used();
        (0..=pools).for_each(|n| self.array::<u64>("CURSORS").set(n, 0, 0).expect("set"));
        for n in 0..=backends {
            self.array("BACKENDS").set(n, Backend::default(), 0).expect("set");
            self.array("LOADS").set(n, Load::default(), 0).expect("set");
            self.array::<u64>("REAPED").set(n, 0, 0).expect("set");
        }
    }

    fn empty<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map = self.hash::<K, V>(name);
        for key in map.keys().collect::<Result<Vec<_>, _>>().expect("iterate") {
            map.remove(&key).expect("remove");
        }
    }
}
