//! The engine: the XDP program attached, its maps in step with the plan, next hops followed, flows aged.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lb_common::maps::Link;
use lb_model::Host;

use super::attach::{self, Mode};
use super::hops::{Hop, Hops};
use super::interfaces;
use super::load::{KernelLog, LoadOptions, Loaded, PROGRAM, Programs, absent};
use super::netlink::LinkState;
use super::object::{self, OBJECT};
use super::pass::Passes;
use super::pins::{self, Claim};
use super::ports::NatPorts;
use super::publish::Publisher;
use super::{adopt, records};
use crate::plan::Change;
use crate::plane::{
    Counters, DataPlane, Explanation, FlowQuery, FlowRecord, InterfaceStatus, PlaneError, PlaneKind, Probe,
};

/// Links that the kernel's half can know.
const MAX_LINKS: usize = 256;

/// The eBPF engine.
#[derive(Debug)]
pub struct EbpfPlane {
    mode: Mode,
    pin_dir: PathBuf,
    claim: Claim,
    state_dir: PathBuf,
    pub(super) publisher: Publisher,
    pub(super) passes: Passes,
    programs: Programs,
    log: Option<KernelLog>,
    hops: Hops,
    interfaces: Vec<InterfaceStatus>,
    /// Flows that one family's table has room for.
    pub(super) capacity: u32,
    /// Maps were taken over, and what is in them has not been compared with the plan yet.
    adopted: bool,
    notes: Vec<String>,
}

impl EbpfPlane {
    /// Loads the kernel's half, or takes over what an earlier `lb` left in `pin_dir`, and attaches it to every interface.
    ///
    /// # Errors
    /// [`PlaneError::Unavailable`] where the host or one of the interfaces lacks something.
    pub fn start(host: &Host, mode: Mode) -> Result<Self, PlaneError> {
        if !object::is_present() {
            return Err(absent());
        }
        let hops = Hops::open().map_err(|source| PlaneError::Kernel { call: "opening netlink".into(), source })?;
        let links = interfaces::configured(host, hops.links())?;
        pins::prepare(&host.pin_dir)?;
        let claim = pins::claim(&host.pin_dir)?;
        let mut notes = Vec::new();
        let books = adopt::consider(host, OBJECT, &mut notes)?;
        let options = LoadOptions {
            flow_table_size: host.flow_table_size,
            nat_ports: NatPorts::of_host(),
            pins: Some(&host.pin_dir),
            ..LoadOptions::default()
        };
        let Loaded { maps, mut programs } = Loaded::load(&options)?;
        let mut publisher = Publisher::new(maps, &host.snat_addresses);
        let adopted = books.is_some();
        if let Some(books) = books {
            adopt::restore(&mut publisher, books, &host.snat_addresses)?;
            notes.push("took over the flows and counters of an earlier lb".into());
        }
        let attached = interfaces::attach_all(&mut programs, &links, mode, host, &claim)?;
        let mut plane = Self {
            mode,
            pin_dir: host.pin_dir.clone(),
            claim,
            state_dir: host.state_dir.clone(),
            publisher,
            passes: Passes::default(),
            log: programs.log(),
            programs,
            hops,
            interfaces: attached,
            capacity: host.flow_table_size,
            adopted,
            notes,
        };
        plane.publisher.books_changed = true;
        plane.write_links();
        plane.keep_books();
        Ok(plane)
    }

    /// The mode in which an earlier `lb` still forwards on the configured interfaces.
    #[must_use]
    pub fn inherited_mode(host: &Host) -> Option<Mode> {
        let hops = Hops::open().ok()?;
        let named = hops.links().values().filter(|l| host.interfaces.contains(&l.name));
        attach::inherited_mode(&host.pin_dir, &named.collect::<Vec<_>>())
    }

    /// What an operator should know of the start.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The kernel's maps, for whoever looks or meddles from outside: tests and measurements.
    pub fn maps_mut(&mut self) -> &mut super::Maps {
        &mut self.publisher.maps
    }

    /// The number of the program in force.
    #[must_use]
    pub fn program_id(&mut self) -> Option<u32> {
        self.programs.get(PROGRAM).ok()?.info().ok().map(|i| i.id())
    }

    fn write_links(&mut self) {
        let attached: BTreeSet<u32> = self.interfaces.iter().map(|i| i.index).collect();
        let mut links: Vec<&LinkState> = self.hops.links().values().filter(|l| l.mac.is_some()).collect();
        // Ours first: there may be more links than room.
        links.sort_by_key(|l| (!attached.contains(&l.index), l.index));
        for l in links.into_iter().take(MAX_LINKS) {
            let value = Link { mac: l.mac.unwrap_or_default(), reserved: 0 };
            if self.publisher.maps.links.get(&l.index, 0).is_ok_and(|v| v == value) {
                continue;
            }
            if let Err(e) = self.publisher.maps.links.insert(l.index, value, 0) {
                tracing::warn!(interface = l.name, error = %e, "the kernel's half does not know this interface");
            }
        }
    }

    /// Writes hops down; gives what was known before, for [`Self::say_hops`].
    fn take_hops(&mut self, hops: Vec<(IpAddr, Hop)>) -> Vec<(IpAddr, Option<Hop>)> {
        let mut before = Vec::new();
        for (ip, hop) in hops {
            before.push((ip, self.publisher.hop(ip).cloned()));
            if let Err(e) = self.publisher.set_hop(ip, hop) {
                tracing::error!(backend = %ip, error = %e, "the way to the backend could not be written");
            }
        }
        before
    }

    fn say_hops(&self, before: Vec<(IpAddr, Option<Hop>)>) {
        for (ip, before) in before {
            if let Some(hop) = self.publisher.hop(ip) {
                self.say_hop(ip, hop, before.as_ref());
            }
        }
    }

    fn say_hop(&self, ip: IpAddr, hop: &Hop, before: Option<&Hop>) {
        let pools = self.publisher.pools.values().filter(|p| p.pool.members.iter().any(|m| m.ip == ip));
        let pools: Vec<&str> = pools.map(|p| p.pool.name.as_str()).collect();
        let pool = pools.join(",");
        match (&hop.trouble, before.and_then(|b| b.trouble.as_ref())) {
            (Some(why), old) if old != Some(why) => {
                tracing::warn!(backend = %ip, pool, "unreachable: {why}");
            }
            (None, Some(_)) => tracing::info!(backend = %ip, pool, "reachable again"),
            _ => {}
        }
        let moved = before.is_none_or(|b| b.ifindex != hop.ifindex);
        if hop.ifindex != 0 && moved && !self.interfaces.iter().any(|i| i.index == hop.ifindex) {
            let name = &hop.interface;
            tracing::warn!(
                backend = %ip, pool,
                "it is reached over {name}, to which lb is not attached: with forward = \"nat\" its answers would not \
                 come back through lb; add the interface to [host] interfaces"
            );
        }
    }

    fn keep_books(&mut self) {
        if !self.publisher.books_changed {
            return;
        }
        match records::save(&self.state_dir, self.publisher.maps.id, &self.publisher.books) {
            Ok(()) => self.publisher.books_changed = false,
            Err(e) => {
                // Said once per change; without the record the next lb rebuilds the maps.
                self.publisher.books_changed = false;
                tracing::warn!(state_dir = %self.state_dir.display(), error = %e,
                    "the record of numbers could not be written; a restart would not keep flows");
            }
        }
    }
}

/// The addresses that a change brings.
fn members(change: &Change) -> impl Iterator<Item = IpAddr> {
    let pool = if let Change::PutPool(p) = change { Some(p) } else { None };
    pool.into_iter().flat_map(|p| p.members.iter().map(|m| m.ip))
}

impl DataPlane for EbpfPlane {
    fn kind(&self) -> PlaneKind {
        match self.mode {
            Mode::Native => PlaneKind::Xdp,
            Mode::Generic => PlaneKind::XdpGeneric,
        }
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        self.interfaces.clone()
    }

    fn supports(&self, s: &lb_model::Service) -> Result<(), PlaneError> {
        let refuse = |what: &str| Err(PlaneError::Unsupported { service: s.name.clone(), what: what.into() });
        if s.send_proxy.is_some() {
            return refuse("send_proxy needs the userspace data plane; XDP does not end connections");
        }
        if s.listen.address.is_unspecified() {
            return refuse(
                "XDP needs the address that packets are sent to; a wildcard needs data_plane = \"userspace\"",
            );
        }
        Ok(())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), PlaneError> {
        // The ways to new backends first: none may be written as unreachable only because nobody has looked yet, least of
        // all one that was taken over and is carrying flows.
        let mut targets = self.publisher.targets();
        targets.extend(changes.iter().flat_map(members));
        self.hops.follow(&targets);
        let hops = self.hops.settle();
        let before = self.take_hops(hops);
        let mut result = Ok(());
        for change in changes {
            result = self.publisher.apply(change);
            if result.is_err() {
                break;
            }
        }
        if self.adopted && result.is_ok() {
            self.adopted = false;
            result = adopt::remove_leftovers(&mut self.publisher);
        }
        let targets = self.publisher.targets();
        self.publisher.forget_hops(&targets);
        self.hops.follow(&targets);
        self.say_hops(before);
        self.keep_books();
        result
    }

    fn tick(&mut self, now: Instant) {
        let (hops, links_changed) = self.hops.refresh();
        let before = self.take_hops(hops);
        self.say_hops(before);
        if links_changed {
            let (links, dir) = (self.hops.links(), &self.pin_dir);
            interfaces::attach_again(&mut self.programs, links, self.mode, dir, &mut self.interfaces);
            self.write_links();
        }
        if !self.adopted {
            self.passes.work(&mut self.publisher, now, Duration::from_millis(8));
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.keep_books();
    }

    fn counters(&self) -> Counters {
        super::counters::counters(self)
    }

    fn flows(&self, query: &FlowQuery) -> Vec<FlowRecord> {
        super::flows::flows(self, query)
    }

    fn explain(&self, probe: &Probe) -> Explanation {
        super::explain::explain(self, probe)
    }

    fn release(mut self: Box<Self>, keep: bool) -> Result<String, PlaneError> {
        let names: Vec<&str> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
        let names = names.join(", ");
        if keep {
            self.publisher.books_changed = true;
            self.keep_books();
            return Ok(format!(
                "the XDP program goes on forwarding on {names}; the next lb run takes it over, and `lb detach` takes it off"
            ));
        }
        pins::remove(&self.pin_dir, &self.claim)?;
        let _absent = std::fs::remove_file(records::path(&self.state_dir));
        Ok(format!("detached from {names}; nothing is forwarded any more"))
    }
}
