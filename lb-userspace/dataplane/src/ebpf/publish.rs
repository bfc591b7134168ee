//! Writing the plan into the kernel's maps: what a packet may meet is complete before a packet can meet it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;

use aya::maps::MapError;
use lb_common::backend::{Backend, flag};
use lb_common::net::Addr;
use lb_common::pool::{MAX_BACKENDS, MAX_POOLS, MAX_SERVICES};
use lb_model::{Name, Service};

use super::hops::Hop;
use super::maps::Maps;
use super::numbers::{BackendKey, Numbers};
use super::ranges::Range;
use super::services::Doors;
use super::snat::Sources;
use super::sweep::Living;
use super::tables::{self, TableInput};
use super::values;
use crate::plan::{Change, Member, PlanePool};
use crate::plane::PlaneError;

/// Who has which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    pub services: Numbers<Name>,
    pub pools: Numbers<Name>,
    pub backends: Numbers<BackendKey>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            services: Numbers::below(MAX_SERVICES),
            pools: Numbers::below(MAX_POOLS),
            backends: Numbers::below(MAX_BACKENDS),
        }
    }
}

/// A pool as it stands in the kernel.
#[derive(Clone, Debug)]
pub struct Published {
    pub pool: PlanePool,
    /// Of the members, in their order.
    pub numbers: Vec<u32>,
    input: TableInput,
}

/// The maps and what has been written into them.
#[derive(Debug)]
pub struct Publisher {
    pub maps: Maps,
    pub books: Books,
    pub pools: BTreeMap<Name, Published>,
    pub services: BTreeMap<Name, Service>,
    /// The services' entries as written, by number.
    pub values: Living,
    pub(super) doors: Doors,
    pub(super) ranges: HashMap<u32, BTreeMap<Range, u32>>,
    pub(super) addresses: HashMap<Addr, u32>,
    table_words: HashMap<u32, usize>,
    hops: HashMap<IpAddr, Hop>,
    pub(super) sources: Sources,
    /// How much of the sources the kernel has.
    pub(super) sources_written: usize,
    /// The books differ from what was last written down.
    pub books_changed: bool,
}

pub(super) fn kernel(call: &str, e: MapError) -> PlaneError {
    let source = match e {
        MapError::SyscallError(s) => s.io_error,
        MapError::IoError(e) => e,
        other => io::Error::other(other),
    };
    PlaneError::Kernel { call: call.to_owned(), source }
}

impl Publisher {
    /// Starts with empty maps. `snat` are the configured source addresses, if any.
    #[must_use]
    pub fn new(maps: Maps, snat: &[IpAddr]) -> Self {
        Self {
            maps,
            books: Books::default(),
            pools: BTreeMap::new(),
            services: BTreeMap::new(),
            values: Living::default(),
            doors: Doors::default(),
            ranges: HashMap::new(),
            addresses: HashMap::new(),
            table_words: HashMap::new(),
            hops: HashMap::new(),
            sources: Sources::new(snat),
            sources_written: 0,
            books_changed: false,
        }
    }

    /// Carries out one change.
    ///
    /// # Errors
    /// [`PlaneError::Limit`] before anything is written, [`PlaneError::Kernel`] if the kernel refuses a write.
    pub fn apply(&mut self, change: &Change) -> Result<(), PlaneError> {
        match change {
            Change::PutPool(p) => self.put_pool(p),
            Change::PutService(s) => self.put_service(s),
            Change::RemoveService(n) => self.remove_service(n),
            Change::RemovePool(n) => self.remove_pool(n),
        }
    }

    fn put_pool(&mut self, pool: &PlanePool) -> Result<(), PlaneError> {
        let keys: Vec<BackendKey> = pool.members.iter().map(|m| backend_key(pool, m)).collect();
        let new = keys.iter().filter(|k| self.books.backends.get(k).is_none()).count();
        if new > self.books.backends.room() as usize {
            return Err(PlaneError::Limit(format!("pool '{}': more than {MAX_BACKENDS} backends in all", pool.name)));
        }
        let limit = || PlaneError::Limit(format!("pool '{}': more than {} pools", pool.name, MAX_POOLS - 1));
        let number = self.books.pools.take(&pool.name).ok_or_else(limit)?;
        let numbers: Option<Vec<u32>> = keys.iter().map(|k| self.books.backends.take(k)).collect();
        let numbers = numbers.ok_or_else(limit)?;
        self.books_changed = true;
        for (m, n) in pool.members.iter().zip(&numbers) {
            self.write_backend(*n, m)?;
        }
        let input = TableInput::of(pool, &numbers);
        let before = self.pools.get(&pool.name);
        let before_algorithm = before.map(|b| b.pool.algorithm);
        if before.is_none_or(|b| b.input != input) {
            let words = input.words();
            tables::publish(&mut self.maps, number, &words)?;
            self.table_words.insert(number, words.len());
        }
        self.pools.insert(pool.name.clone(), Published { pool: pool.clone(), numbers: numbers.clone(), input });
        if before_algorithm.is_some_and(|a| a != pool.algorithm) {
            let users: Vec<Service> = self.services.values().filter(|s| s.pool == pool.name).cloned().collect();
            for s in users {
                self.write_service(&s)?;
            }
        }
        let kept: BTreeSet<u32> = numbers.into_iter().collect();
        self.retire_backends(|k, n| k.pool == pool.name && !kept.contains(&n))
    }

    pub(super) fn remove_pool(&mut self, name: &Name) -> Result<(), PlaneError> {
        if let Some(number) = self.books.pools.get(name) {
            // Nothing refers to the number: services of a pool go before it.
            tables::publish(&mut self.maps, number, &[0])?;
            self.table_words.remove(&number);
            self.books.pools.retire(name);
            self.books.pools.free(number);
            self.books_changed = true;
        }
        self.pools.remove(name);
        self.retire_backends(|k, _| k.pool == *name)
    }

    /// Takes backends out of the kernel's sight; their numbers wait until no flow has them.
    pub(super) fn retire_backends(&mut self, gone: impl Fn(&BackendKey, u32) -> bool) -> Result<(), PlaneError> {
        let keys: Vec<(BackendKey, u32)> =
            self.books.backends.live().filter(|(k, n)| gone(k, *n)).map(|(k, n)| (k.clone(), n)).collect();
        for (key, number) in keys {
            let mut value = self.maps.backends.get(&number, 0).unwrap_or_default();
            value.flags = 0;
            self.maps.backends.set(number, value, 0).map_err(|e| kernel("removing a backend", e))?;
            self.books.backends.retire(&key);
            self.books_changed = true;
        }
        Ok(())
    }

    fn write_backend(&mut self, number: u32, member: &Member) -> Result<(), PlaneError> {
        let hop = self.hops.get(&member.ip);
        let run = self.sources.run(member.ip, hop.and_then(|h| h.source));
        self.write_sources()?;
        let value: Backend = values::backend(member, self.hops.get(&member.ip), run);
        if self.maps.backends.get(&number, 0).is_ok_and(|v| v == value) {
            return Ok(());
        }
        self.maps.backends.set(number, value, 0).map_err(|e| kernel("writing a backend", e))
    }

    /// New source addresses: known as ours first, so that no answer to them is missed.
    fn write_sources(&mut self) -> Result<(), PlaneError> {
        let new: Vec<(usize, Addr)> = self.sources.addresses().enumerate().skip(self.sources_written).collect();
        for (i, a) in new {
            self.mark_address(a, lb_common::service::address::SNAT, true)?;
            self.maps.snat.set(i as u32, a, 0).map_err(|e| kernel("writing a source address", e))?;
            self.sources_written = i + 1;
        }
        Ok(())
    }

    /// Every address that a next hop is wanted for.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<IpAddr> {
        self.pools.values().flat_map(|p| p.pool.members.iter().map(|m| m.ip)).collect()
    }

    /// What is known of the way to an address.
    #[must_use]
    pub fn hop(&self, ip: IpAddr) -> Option<&Hop> {
        self.hops.get(&ip)
    }

    /// Takes note of how an address is reached, and tells the kernel of every backend there.
    ///
    /// # Errors
    /// If the kernel refuses a write.
    pub fn set_hop(&mut self, ip: IpAddr, hop: Hop) -> Result<(), PlaneError> {
        self.hops.insert(ip, hop);
        let there: Vec<(u32, Member)> = self
            .pools
            .values()
            .flat_map(|p| p.pool.members.iter().zip(&p.numbers))
            .filter(|(m, _)| m.ip == ip)
            .map(|(m, n)| (*n, m.clone()))
            .collect();
        there.iter().try_for_each(|(n, m)| self.write_backend(*n, m))
    }

    /// Forgets hops of addresses that no backend has any more.
    pub fn forget_hops(&mut self, wanted: &BTreeSet<IpAddr>) {
        self.hops.retain(|ip, _| wanted.contains(ip));
    }

    /// Memory of the pools' tables: the kernel rounds an array's elements up to eight bytes.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.table_words.values().map(|n| *n as u64 * 8).sum()
    }

    /// Numbers of backends that take new flows or hold old ones: those with [`flag::EXISTS`] in the kernel.
    #[must_use]
    pub fn exists(&self, backend: u32) -> bool {
        self.maps.backends.get(&backend, 0).is_ok_and(|b| b.flags & flag::EXISTS != 0)
    }
}

#[must_use]
pub fn backend_key(pool: &PlanePool, m: &Member) -> BackendKey {
    BackendKey { pool: pool.name.clone(), configured: m.configured.clone(), ip: m.ip, port: m.port }
}
