//! The engine as the control plane sees it: services and pools put and removed, all or nothing each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use lb_model::{Forward, Host, Name, Protocol, Service};
use socket2::Socket;

use super::live::{LivePool, LiveService, Settings};
use super::shared::Shared;
use super::worker::{Closing, Worker};
use super::{explain, listen, report};
use crate::plan::{Change, PlanePool};
use crate::plane::{
    Counters, DataPlane, Explanation, FlowQuery, FlowRecord, InterfaceStatus, PlaneError, PlaneKind, Probe,
};

/// Descriptors kept back for everything that is not a flow.
const RESERVED_FILES: u64 = 512;

/// A service in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) live: Arc<LiveService>,
    pub(super) model: Service,
    addresses: Vec<SocketAddr>,
}

/// TCP and UDP in user space.
#[derive(Debug)]
pub struct UserPlane {
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<Worker>,
    pub(super) services: BTreeMap<Name, InForce>,
    pub(super) pools: BTreeMap<Name, Arc<LivePool>>,
    /// Another process of ours listens too, and is about to go.
    beside: bool,
}

impl UserPlane {
    /// Starts the workers, one per core that the process may use; they serve nothing yet.
    ///
    /// # Errors
    /// [`PlaneError::Unavailable`] if threads cannot be had, or one of `snat_addresses` is not the host's.
    pub fn start(host: &Host) -> Result<Self, PlaneError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_workers(host, cores)
    }

    /// Until the first tick it listens beside a process that it is to replace.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// Likewise with a number of workers.
    ///
    /// # Errors
    /// As [`UserPlane::start`].
    pub fn with_workers(host: &Host, workers: usize) -> Result<Self, PlaneError> {
        host.snat_addresses.iter().try_for_each(|a| usable(*a))?;
        let files = raise_file_limit(host.flow_table_size.into());
        let for_flows = files.saturating_sub(RESERVED_FILES).max(64);
        let workers = workers.max(1);
        let shared = Arc::new(Shared::new(host.flow_table_size.into(), for_flows, host.snat_addresses.clone()));
        let sessions = (host.flow_table_size as usize).div_ceil(workers);
        let start = |i| Worker::start(i, shared.clone(), sessions);
        let workers = (0..workers).map(start).collect::<std::io::Result<Vec<_>>>().map_err(|e| {
            PlaneError::Unavailable { what: "userspace data plane".into(), why: format!("no worker thread: {e}") }
        })?;
        Ok(Self { shared, workers, services: BTreeMap::new(), pools: BTreeMap::new(), beside: false })
    }

    fn put_pool(&mut self, pool: &PlanePool) {
        let Some(live) = self.pools.get(&pool.name) else {
            self.pools.insert(pool.name.clone(), LivePool::new(pool));
            return;
        };
        if live.update(pool) {
            self.workers.iter().for_each(Worker::sweep);
        }
    }

    fn remove_pool(&mut self, name: &Name) {
        if let Some(pool) = self.pools.remove(name) {
            let now = self.shared.clock.millis();
            pool.published().backends.iter().for_each(|b| b.orphan(now));
        }
    }

    fn put_service(&mut self, service: &Service) -> Result<(), PlaneError> {
        self.supports(service)?;
        let pool = self.pools.get(&service.pool).cloned().ok_or_else(|| {
            PlaneError::Limit(format!(
                "service '{}' names the pool '{}', which does not exist",
                service.name, service.pool
            ))
        })?;
        let wanted = listen::addresses(service);
        let protocol = service.listen.protocol;
        let old = self.services.get(&service.name);
        let kept = |a: &SocketAddr| {
            old.is_some_and(|o| {
                o.model.listen.protocol == protocol && o.model.mss_clamp == service.mss_clamp && o.addresses.contains(a)
            })
        };
        let missing: Vec<SocketAddr> = wanted.iter().copied().filter(|a| !kept(a)).collect();
        let stale: Vec<SocketAddr> = old
            .map(|o| o.addresses.iter().copied().filter(|a| !wanted.contains(a) || missing.contains(a)).collect())
            .unwrap_or_default();
        let opened = listen::open(service, &missing, self.workers.len(), |a| self.beside || self.listens(a, protocol))?;

        // Nothing fails from here on.
        let settings = Settings::new(service.clone(), pool);
        let (live, closing) = match old {
            Some(o) => {
                o.live.replace(settings);
                (o.live.clone(), self.close(&o.live, o.model.listen.protocol, &stale))
            }
            None => (LiveService::new(settings), Vec::new()),
        };
        closing.into_iter().for_each(Closing::wait);
        self.open(&live, protocol, opened);
        let entry = InForce { live, model: service.clone(), addresses: wanted };
        self.services.insert(service.name.clone(), entry);
        Ok(())
    }

    /// Hands every worker its sockets.
    fn open(&self, live: &Arc<LiveService>, protocol: Protocol, opened: Vec<listen::Opened>) {
        let mut shares: Vec<Vec<(SocketAddr, Socket)>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (address, sockets) in opened {
            for (share, socket) in shares.iter_mut().zip(sockets) {
                share.push((address, socket));
            }
        }
        for (worker, share) in self.workers.iter().zip(shares) {
            worker.open(live, protocol, share);
        }
    }

    fn close(&self, live: &Arc<LiveService>, protocol: Protocol, addresses: &[SocketAddr]) -> Vec<Closing> {
        if addresses.is_empty() {
            return Vec::new();
        }
        self.workers.iter().map(|w| w.close(live, protocol, addresses)).collect()
    }

    fn remove_service(&mut self, name: &Name) {
        let Some(entry) = self.services.remove(name) else { return };
        entry.live.remove(self.shared.clock.millis());
        let closing = self.close(&entry.live, entry.model.listen.protocol, &entry.addresses);
        closing.into_iter().for_each(Closing::wait);
        if entry.model.drain_timeout.is_zero() {
            self.workers.iter().for_each(Worker::sweep);
        }
    }

    /// Does any service listen there now?
    fn listens(&self, address: SocketAddr, protocol: Protocol) -> bool {
        self.services.values().any(|s| s.model.listen.protocol == protocol && s.addresses.contains(&address))
    }
}

/// Connections can come from the host's own addresses only.
fn usable(snat: IpAddr) -> Result<(), PlaneError> {
    std::net::UdpSocket::bind((snat, 0)).map(drop).map_err(|e| PlaneError::Unavailable {
        what: format!("snat_addresses: {snat}"),
        why: format!("the userspace data plane cannot send from it: {e}"),
    })
}

/// Asks for as many descriptors as a full table needs, as far as the process may; says how many there are.
fn raise_file_limit(flows: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let want = flows.saturating_mul(2).saturating_add(RESERVED_FILES);
    if soft >= want {
        return soft;
    }
    // Beyond the hard limit only with privileges, and never beyond fs.nr_open.
    let ceiling = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|s| s.trim().parse().ok());
    let most = want.min(ceiling.unwrap_or(hard));
    for limit in [most, hard.min(want)] {
        if limit > soft && setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit)).is_ok() {
            return limit;
        }
    }
    soft
}

impl DataPlane for UserPlane {
    fn kind(&self) -> PlaneKind {
        PlaneKind::Userspace
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        Vec::new()
    }

    fn supports(&self, service: &Service) -> Result<(), PlaneError> {
        let refuse = |what: &str| Err(PlaneError::Unsupported { service: service.name.clone(), what: what.into() });
        let udp = service.listen.protocol == Protocol::Udp;
        match service.forward {
            Forward::Nat => {}
            Forward::Dsr => {
                return refuse("forward = \"dsr\" needs the XDP data plane; the userspace data plane does \"nat\"");
            }
        }
        if udp && service.listen.address.is_unspecified() {
            return refuse("a UDP service needs an address of its own, since answers are sent from it");
        }
        if udp && service.send_proxy.is_some() {
            return refuse("send_proxy is for TCP");
        }
        Ok(())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), PlaneError> {
        for change in changes {
            match change {
                Change::PutPool(pool) => self.put_pool(pool),
                Change::PutService(service) => self.put_service(service)?,
                Change::RemoveService(name) => self.remove_service(name),
                Change::RemovePool(name) => self.remove_pool(name),
            }
        }
        Ok(())
    }

    /// Workers keep house themselves.
    fn tick(&mut self, _now: Instant) {
        self.beside = false;
    }

    fn counters(&self) -> Counters {
        report::counters(self)
    }

    fn flows(&self, query: &FlowQuery) -> Vec<FlowRecord> {
        report::flows(self, query)
    }

    fn explain(&self, probe: &Probe) -> Explanation {
        explain::explain(self, probe)
    }

    fn release(self: Box<Self>, _keep: bool) -> Result<String, PlaneError> {
        let flows = self.shared.flows();
        drop(self);
        let ended = match flows {
            0 => String::new(),
            1 => " and its one flow".to_owned(),
            n => format!(" and its {n} flows"),
        };
        Ok(format!("the userspace data plane{ended} ended with this process; nothing is forwarded now"))
    }
}
