//! The kernel's maps with their types: the only place where a map's name meets its key and value.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::{Array, ArrayOfMaps, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray};
use lb_common::backend::{Backend, Load};
use lb_common::flow::{Affinity, ClientKey, Flow, FlowKey4, FlowKey6};
use lb_common::maps::{Link, Settings};
use lb_common::net::Addr;
use lb_common::service::{RangeKey, Service, ServiceKey4, ServiceKey6, Traffic};

use crate::plane::PlaneError;

/// Flags of a pool's table: inner maps of different sizes may replace one another.
pub const BPF_F_INNER_MAP: u32 = 0x1000;

/// Every map of the kernel's half, open.
pub struct Maps {
    pub settings: Array<MapData, Settings>,
    pub services4: HashMap<MapData, ServiceKey4, u32>,
    pub services6: HashMap<MapData, ServiceKey6, u32>,
    pub service: Array<MapData, Service>,
    pub addresses: HashMap<MapData, Addr, u32>,
    pub ranges: LpmTrie<MapData, RangeKey, u32>,
    pub pools: ArrayOfMaps<MapData>,
    pub cursors: Array<MapData, u64>,
    pub backends: Array<MapData, Backend>,
    pub loads: Array<MapData, Load>,
    pub reaped: Array<MapData, u64>,
    pub snat: Array<MapData, Addr>,
    pub links: HashMap<MapData, u32, Link>,
    pub flows4: Sweepable<FlowKey4, Flow>,
    pub flows6: Sweepable<FlowKey6, Flow>,
    pub fresh4: Sweepable<FlowKey4, Flow>,
    pub fresh6: Sweepable<FlowKey6, Flow>,
    pub affinity: Sweepable<ClientKey, Affinity>,
    pub rates: HashMap<MapData, ClientKey, u64>,
    pub service_traffic: PerCpuArray<MapData, Traffic>,
    pub backend_traffic: PerCpuArray<MapData, Traffic>,
    pub verdicts: PerCpuArray<MapData, u64>,
    /// What the kernel says it keeps for all of them, in bytes.
    pub memory_bytes: u64,
    /// The kernel's number of `SETTINGS`; tells one set of maps from the next.
    pub id: u32,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").field("id", &self.id).field("memory_bytes", &self.memory_bytes).finish_non_exhaustive()
    }
}

/// A hash map that is also read in batches.
#[derive(Debug)]
pub struct Sweepable<K: aya::Pod, V: aya::Pod> {
    pub map: HashMap<MapData, K, V>,
    fd: OwnedFd,
    pub capacity: u32,
}

impl<K: aya::Pod, V: aya::Pod> AsFd for Sweepable<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Takes maps out of wherever they were loaded to, adding up their memory.
struct Opener<'a> {
    take: &'a mut dyn FnMut(&str) -> Option<Map>,
    memory_bytes: u64,
}

impl Opener<'_> {
    fn map(&mut self, name: &str) -> Result<Map, PlaneError> {
        let map =
            (self.take)(name).ok_or_else(|| PlaneError::Limit(format!("the eBPF object has no map named {name}")))?;
        if let Some(data) = data_of(&map) {
            self.memory_bytes += memlock(data.fd().as_fd());
        }
        Ok(map)
    }

    fn open<T: TryFrom<Map, Error = MapError>>(&mut self, name: &str) -> Result<T, PlaneError> {
        let map = self.map(name)?;
        T::try_from(map).map_err(|e| wrong(name, &e))
    }

    fn sweepable<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> Result<Sweepable<K, V>, PlaneError> {
        let map = self.map(name)?;
        let data = data_of(&map).ok_or_else(|| PlaneError::Limit(format!("map {name} is no hash map")))?;
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| PlaneError::Kernel { call: format!("duplicating map {name}"), source })?;
        let capacity = data.info().map_err(|e| wrong(name, &e))?.max_entries();
        let map = HashMap::try_from(map).map_err(|e| wrong(name, &e))?;
        Ok(Sweepable { map, fd, capacity })
    }
}

fn wrong(name: &str, e: &MapError) -> PlaneError {
    PlaneError::Limit(format!("map {name} is not what this lb expects: {e}"))
}

/// The plain handle inside the kinds of map that we use.
fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(d)
        | Map::ArrayOfMaps(d)
        | Map::HashMap(d)
        | Map::LpmTrie(d)
        | Map::LruHashMap(d)
        | Map::PerCpuArray(d) => Some(d),
        _ => None,
    }
}

/// The memory that the kernel accounts to a map (`/proc/self/fdinfo`); 0 where it does not say.
fn memlock(fd: BorrowedFd<'_>) -> u64 {
    use std::os::fd::AsRawFd;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("memlock:"));
    line.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

impl Maps {
    /// Opens every map; `take` gives a map by its name.
    ///
    /// # Errors
    /// If one is missing or of another type.
    pub fn open(take: &mut dyn FnMut(&str) -> Option<Map>) -> Result<Self, PlaneError> {
        let mut o = Opener { take, memory_bytes: 0 };
        let settings = o.map("SETTINGS")?;
        let id = data_of(&settings).and_then(|d| d.info().ok()).map_or(0, |i| i.id());
        let mut maps = Self {
            settings: Array::try_from(settings).map_err(|e| wrong("SETTINGS", &e))?,
            services4: o.open("SERVICES4")?,
            services6: o.open("SERVICES6")?,
            service: o.open("SERVICE")?,
            addresses: o.open("ADDRESSES")?,
            ranges: o.open("RANGES")?,
            pools: o.open("POOLS")?,
            cursors: o.open("CURSORS")?,
            backends: o.open("BACKENDS")?,
            loads: o.open("LOADS")?,
            reaped: o.open("REAPED")?,
            snat: o.open("SNAT")?,
            links: o.open("LINKS")?,
            flows4: o.sweepable("FLOWS4")?,
            flows6: o.sweepable("FLOWS6")?,
            fresh4: o.sweepable("FRESH4")?,
            fresh6: o.sweepable("FRESH6")?,
            affinity: o.sweepable("AFFINITY")?,
            rates: o.open("RATES")?,
            service_traffic: o.open("SVC_TRAFFIC")?,
            backend_traffic: o.open("BE_TRAFFIC")?,
            verdicts: o.open("VERDICTS")?,
            memory_bytes: 0,
            id,
        };
        maps.memory_bytes = o.memory_bytes;
        Ok(maps)
    }
}
