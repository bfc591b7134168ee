//! The loaded program and its maps: a [`World`] published to the kernel, packets run through it, counters read back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use lb_common::backend::Backend;
use lb_common::flow::{Affinity, ClientKey, Flow, FlowKey4, FlowKey6};
use lb_common::maps::{Link, Settings, flow_entries, fresh_entries};
use lb_common::net::{Addr, Be16};
use lb_common::reason::{REASON_SLOTS, Reason};
use lb_common::service::{RangeKey, Service, ServiceKey4, ServiceKey6, Traffic, address, flag};
use lb_common::time::ticks_of_millis;

use super::cast::{BALANCER, BALANCER_FAR, FAR, HERE};
use super::world::World;

/// Lets a pool's table have any number of entries.
const BPF_F_INNER_MAP: u32 = 0x1000;

/// What came of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// An XDP action.
    pub action: u32,
    pub frame: Vec<u8>,
}

/// Counters of services (0: of none) and backends that are not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub verdicts: BTreeMap<(u32, Reason), u64>,
    pub services: BTreeMap<u32, Traffic>,
    pub backends: BTreeMap<u32, Traffic>,
}

pub mod action {
    pub const DROP: u32 = 1;
    pub const PASS: u32 = 2;
    pub const TX: u32 = 3;
    pub const REDIRECT: u32 = 4;
}

/// One loaded program with maps of its own.
#[derive(Debug)]
pub struct Program {
    ebpf: Ebpf,
    flows: u32,
    services: u32,
    pools: u32,
    backends: u32,
}

impl Program {
    /// Loads the program with flow tables for `flows` flows.
    ///
    /// # Panics
    /// If this is not root's process, or the kernel refuses the program: there is nothing to test then.
    #[must_use]
    pub fn load(flows: u32) -> Self {
        let root = nix::unistd::geteuid().is_root();
        assert!(
            root,
            "packet tests load programs into the kernel and need root; run them by sudo, or test with --quick"
        );
        let (entries, fresh) = (flow_entries(flows), fresh_entries(flows));
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("FLOWS4", entries)
            .map_max_entries("FLOWS6", entries)
            .map_max_entries("FRESH4", fresh)
            .map_max_entries("FRESH6", fresh)
            .load(lb_dataplane::ebpf::OBJECT)
            .expect("the object loads");
        let xdp: &mut Xdp = ebpf.program_mut("lb_xdp").expect("the balancer").try_into().expect("an XDP program");
        xdp.load().expect("the verifier takes the program");
        Self { ebpf, flows, services: 0, pools: 0, backends: 0 }
    }

    /// A fresh program with a world published to it.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let mut program = Self::load(world.flows);
        program.publish(world);
        program
    }

    #[must_use]
    pub fn flow_table_size(&self) -> u32 {
        self.flows
    }

    /// Highest numbers of pools and backends published.
    pub(super) fn used(&self) -> (u32, u32) {
        (self.pools, self.backends)
    }

    /// Writes a world into the maps.
    pub fn publish(&mut self, world: &World) {
        assert_eq!(self.flows, world.flows, "the flow tables were sized for another world");
        let (nat_first, nat_count) = world.nat_ports;
        self.array::<Settings>("SETTINGS")
            .set(0, Settings { layout: lb_common::layout::VERSION, nat_first, nat_count }, 0)
            .expect("set");
        for (ifindex, mac) in [(HERE, BALANCER), (FAR, BALANCER_FAR)] {
            self.hash("LINKS").insert(ifindex, Link { mac, reserved: 0 }, 0).expect("insert");
        }
        for (i, a) in world.snat.iter().enumerate() {
            self.array::<Addr>("SNAT").set(i as u32, Addr::from(*a), 0).expect("set");
            self.add_role(*a, address::SNAT);
        }
        for n in 1..=world.backends.len() as u32 {
            self.publish_backend(world, n);
        }
        for n in 1..=world.pools.len() as u32 {
            self.publish_pool(world, n);
        }
        for n in 1..=world.services.len() as u32 {
            self.publish_service(world, n);
        }
        self.services = world.services.len() as u32;
        self.pools = world.pools.len() as u32;
        self.backends = world.backends.len() as u32;
    }

    pub fn publish_backend(&mut self, world: &World, n: u32) {
        let b = &world.backends[n as usize - 1];
        let value = Backend {
            addr: Addr::from(b.ip),
            port: Be16::from_host(b.port),
            weight: b.weight,
            ifindex: b.ifindex,
            dst_mac: b.mac,
            src_mac: b.our_mac,
            flags: b.flags,
            snat_first: b.snat.0,
            snat_count: b.snat.1,
            mtu: 1500,
        };
        self.array::<Backend>("BACKENDS").set(n, value, 0).expect("set");
    }

    /// Publishes a whole new table, as the product does.
    pub fn publish_pool(&mut self, world: &World, n: u32) {
        let words = world.table(n);
        let mut inner = Array::<MapData, u32>::create(words.len() as u32, BPF_F_INNER_MAP).expect("create");
        for (i, w) in words.iter().enumerate() {
            inner.set(i as u32, w, 0).expect("set");
        }
        let mut pools: ArrayOfMaps<_, Array<MapData, u32>> = self.map("POOLS");
        pools.set(n, &inner, 0).expect("the table fits the outer map");
    }

    fn publish_service(&mut self, world: &World, n: u32) {
        let s = &world.services[n as usize - 1];
        let mut flags = flag::TRACKED;
        if s.affinity.is_some() {
            flags |= flag::AFFINITY;
        }
        if !s.ranges.is_empty() {
            flags |= flag::RANGES;
        }
        let (interval, burst) = s.rate.unwrap_or_default();
        let value = Service {
            vip: Addr::from(s.vip),
            rate_interval_ns: interval,
            rate_tolerance_ns: interval * burst,
            pool: s.pool,
            idle_timeout: ticks_of_millis(u64::from(s.idle_seconds) * 1000),
            affinity_timeout: ticks_of_millis(u64::from(s.affinity.unwrap_or(s.idle_seconds)) * 1000),
            port_first: Be16::from_host(s.ports.0),
            port_last: Be16::from_host(s.ports.1),
            protocol: s.protocol,
            forward: s.forward,
            algorithm: world.pools[s.pool as usize - 1].algorithm,
            flags,
            mss: s.mss,
            reserved: 0,
        };
        self.array::<Service>("SERVICE").set(n, value, 0).expect("set");
        self.publish_ranges(n, s);
        self.add_role(s.vip, address::VIP);
        for port in s.ports.0..=s.ports.1 {
            let (addr, port, protocol) = (Addr::from(s.vip), Be16::from_host(port), u16::from(s.protocol));
            if s.vip.is_ipv4() {
                let key = ServiceKey4 { addr: addr.as_v4(), port, protocol };
                self.hash("SERVICES4").insert(key, n, 0).expect("insert");
            } else {
                self.hash("SERVICES6").insert(ServiceKey6 { addr, port, protocol }, n, 0).expect("insert");
            }
        }
    }

    fn publish_ranges(&mut self, n: u32, s: &super::world::Service) {
        if s.ranges.is_empty() {
            return;
        }
        let mut trie: LpmTrie<_, RangeKey, u32> = self.map("RANGES");
        let default = Key::new(32, RangeKey { service: n, client: Addr::UNSPECIFIED });
        trie.insert(&default, u32::from(s.otherwise), 0).expect("insert");
        for (ip, len, allowed) in &s.ranges {
            let mapped = if ip.is_ipv4() { 96 } else { 0 };
            let key = Key::new(32 + mapped + u32::from(*len), RangeKey { service: n, client: Addr::from(*ip) });
            trie.insert(&key, u32::from(*allowed), 0).expect("insert");
        }
    }

    fn add_role(&mut self, ip: IpAddr, role: u32) {
        let mut map = self.hash::<Addr, u32>("ADDRESSES");
        let old = map.get(&Addr::from(ip), 0).unwrap_or(0);
        map.insert(Addr::from(ip), old | role, 0).expect("insert");
    }

    /// Runs one frame through the program.
    ///
    /// # Errors
    /// What the kernel says to a frame that it does not even hand to the program.
    pub fn run(&self, frame: &[u8]) -> Result<Ran, std::io::Error> {
        let xdp: &Xdp = self.ebpf.program("lb_xdp").expect("the balancer").try_into().expect("an XDP program");
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        match xdp.test_run(options) {
            Ok(r) => {
                out.truncate(r.data_size_out as usize);
                Ok(Ran { action: r.return_value, frame: out })
            }
            Err(aya::programs::ProgramError::SyscallError(e)) => Err(e.io_error),
            Err(e) => panic!("test run: {e}"),
        }
    }

    /// All counters of the world's services and backends.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut out = Counts::default();
        let verdicts: PerCpuArray<_, u64> = self.read("VERDICTS");
        for service in 0..=self.services {
            for reason in Reason::ALL {
                let n: u64 = verdicts.get(&(service * REASON_SLOTS + *reason as u32), 0).expect("get").iter().sum();
                if n > 0 {
                    out.verdicts.insert((service, *reason), n);
                }
            }
        }
        out.services = self.traffic("SVC_TRAFFIC", self.services);
        out.backends = self.traffic("BE_TRAFFIC", self.backends);
        out
    }

    fn traffic(&self, map: &str, last: u32) -> BTreeMap<u32, Traffic> {
        let map: PerCpuArray<_, Traffic> = self.read(map);
        let total = |n| {
            let cpus = map.get(&n, 0).expect("get");
            cpus.iter().fold(Traffic::default(), |a, b| Traffic {
                packets: a.packets + b.packets,
                bytes: a.bytes + b.bytes,
                flows: a.flows + b.flows,
            })
        };
        (0..=last).map(|n| (n, total(n))).filter(|(_, t)| *t != Traffic::default()).collect()
    }

    /// Flows opened and not closed on a backend, as the kernel counts.
    #[must_use]
    pub fn active(&self, backend: u32) -> u64 {
        let loads: Array<_, lb_common::backend::Load> = self.read("LOADS");
        let load = loads.get(&backend, 0).expect("get");
        load.opened - load.closed
    }

    /// All entries of the flow tables, with their table's name.
    #[must_use]
    pub fn flows(&self) -> Vec<(&'static str, FlowKey6, Flow)> {
        let mut out = Vec::new();
        for name in ["FLOWS4", "FRESH4"] {
            let map: HashMap<_, FlowKey4, Flow> = self.read(name);
            out.extend(map.iter().map(|e| e.expect("iterate")).map(|(k, v)| (name, widen(&k), v)));
        }
        for name in ["FLOWS6", "FRESH6"] {
            let map: HashMap<_, FlowKey6, Flow> = self.read(name);
            out.extend(map.iter().map(|e| e.expect("iterate")).map(|(k, v)| (name, k, v)));
        }
        out
    }

    /// Puts an entry of the flow tables back, changed.
    pub fn put_flow(&mut self, table: &str, key: &FlowKey6, flow: Flow) {
        if table.ends_with('4') {
            self.hash(table).insert(narrow(key), flow, 0).expect("insert");
        } else {
            self.hash(table).insert(*key, flow, 0).expect("insert");
        }
    }

    pub fn remove_flow(&mut self, table: &str, key: &FlowKey6) {
        if table.ends_with('4') {
            self.hash::<FlowKey4, Flow>(table).remove(&narrow(key)).expect("remove");
        } else {
            self.hash::<FlowKey6, Flow>(table).remove(key).expect("remove");
        }
    }

    /// Makes a client's affinity look older by so many ticks.
    pub fn age_affinity(&mut self, client: IpAddr, service: u32, ticks: u32) {
        let key = ClientKey { client: Addr::from(client), service };
        let mut map = self.hash::<ClientKey, Affinity>("AFFINITY");
        let mut value = map.get(&key, 0).expect("the client has an affinity");
        value.last_seen = value.last_seen.wrapping_sub(ticks);
        map.insert(key, value, 0).expect("insert");
    }

    fn read<'a, M: TryFrom<&'a aya::maps::Map, Error = aya::maps::MapError>>(&'a self, name: &str) -> M {
        self.ebpf.map(name).unwrap_or_else(|| panic!("no map {name}")).try_into().expect("of the expected kind")
    }

    pub(super) fn map<'a, M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>>(
        &'a mut self,
        name: &str,
    ) -> M {
        self.ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}")).try_into().expect("of the expected kind")
    }

    pub(super) fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.map(name)
    }

    pub(super) fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.map(name)
    }
}

fn widen(k: &FlowKey4) -> FlowKey6 {
    FlowKey6 {
        src: Addr::v4(k.src),
        dst: Addr::v4(k.dst),
        src_port: k.src_port,
        dst_port: k.dst_port,
        protocol: k.protocol,
    }
}

fn narrow(k: &FlowKey6) -> FlowKey4 {
    FlowKey4 {
        src: k.src.as_v4(),
        dst: k.dst.as_v4(),
        src_port: k.src_port,
        dst_port: k.dst_port,
        protocol: k.protocol,
    }
}
