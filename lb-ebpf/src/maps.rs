//! All maps in one place. Keys, values and writers are listed in `lb_common::maps`; sizes of the flow tables here are
//! placeholders that the loader replaces by what `flow_table_size` asks for.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array as BtfArray, ArrayOfMaps};
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use lb_common::backend::{Backend, Load};
use lb_common::flow::{Affinity, ClientKey, Flow, FlowKey4, FlowKey6};
use lb_common::maps::{Link, Settings};
use lb_common::net::Addr;
use lb_common::pool::{MAX_BACKENDS, MAX_POOLS, MAX_SERVICES};
use lb_common::reason::REASON_SLOTS;
use lb_common::service::{RangeKey, Service, ServiceKey4, ServiceKey6, Traffic};

use crate::packet::Packet;

/// Lets a pool's inner map have any number of entries (kernel 5.10).
const BPF_F_INNER_MAP: usize = 0x1000;
const SERVICE_KEYS: u32 = 262_144;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub static SERVICES4: HashMap<ServiceKey4, u32> = HashMap::with_max_entries(SERVICE_KEYS, BPF_F_NO_PREALLOC);
#[map]
pub static SERVICES6: HashMap<ServiceKey6, u32> = HashMap::with_max_entries(SERVICE_KEYS, BPF_F_NO_PREALLOC);
#[map]
pub static SERVICE: Array<Service> = Array::with_max_entries(MAX_SERVICES, 0);
#[map]
pub static ADDRESSES: HashMap<Addr, u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);
#[map]
pub static RANGES: LpmTrie<RangeKey, u32> = LpmTrie::with_max_entries(65_536, BPF_F_NO_PREALLOC);

pub type PoolTable = BtfArray<u32, 1, BPF_F_INNER_MAP>;
#[btf_map]
pub static POOLS: ArrayOfMaps<PoolTable, { MAX_POOLS as usize }> = ArrayOfMaps::new();
#[map]
pub static CURSORS: Array<u64> = Array::with_max_entries(MAX_POOLS, 0);

#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(MAX_BACKENDS, 0);
#[map]
pub static LOADS: Array<Load> = Array::with_max_entries(MAX_BACKENDS, 0);
#[map]
pub static REAPED: Array<u64> = Array::with_max_entries(MAX_BACKENDS, 0);
#[map]
pub static SNAT: Array<Addr> = Array::with_max_entries(256, 0);
#[map]
pub static LINKS: HashMap<u32, Link> = HashMap::with_max_entries(256, 0);

#[map]
pub static FLOWS4: HashMap<FlowKey4, Flow> = HashMap::with_max_entries(4096, 0);
#[map]
pub static FLOWS6: HashMap<FlowKey6, Flow> = HashMap::with_max_entries(4096, 0);
#[map]
pub static FRESH4: LruHashMap<FlowKey4, Flow> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub static FRESH6: LruHashMap<FlowKey6, Flow> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub static AFFINITY: LruHashMap<ClientKey, Affinity> = LruHashMap::with_max_entries(65_536, 0);
#[map]
pub static RATES: LruHashMap<ClientKey, u64> = LruHashMap::with_max_entries(65_536, 0);

#[map]
pub static SVC_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_SERVICES, 0);
#[map]
pub static BE_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_BACKENDS, 0);
#[map]
pub static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_SERVICES * REASON_SLOTS, 0);

/// Where a new flow's two halves are put together: too large for the stack. One per CPU; XDP does not nest.
#[repr(C)]
pub struct Scratch {
    pub forward: Flow,
    pub reply: Flow,
    pub forward_key: FlowKey6,
    pub reply_key: FlowKey6,
}
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Where a packet's view lies; see `packet::parse`.
#[map]
pub static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);
