//! The lab: clients, a balancer and backends in network namespaces of their own, joined by bridges, made and removed here.
//!
//! Every host has `eth0` on a bridge; the bridges live in a namespace too, so nothing of the machine's own network is
//! touched. The names carry the process's number, so labs run beside each other; what a dead process left is swept away
//! when the next lab is made.

pub mod addresses;
mod host;
mod netns;
mod pass;
mod wiring;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use host::Host;
pub use netns::reap;

/// Names of the labs that stand, of all processes.
///
/// # Errors
/// If the namespaces cannot be listed.
pub fn list_labels() -> Result<Vec<String>> {
    let names = netns::list()?;
    Ok(names.iter().filter_map(|n| n.strip_prefix(netns::PREFIX)?.strip_suffix("-net")).map(str::to_owned).collect())
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How the balancer is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Everyone on one segment; the balancer has one interface.
    OneArmed,
    /// Clients on one segment, backends on another, the balancer between the two, also as their router.
    TwoArmed,
}

/// Hosts and wires; taken down when dropped, unless [`Lab::keep`] was called.
#[derive(Debug)]
pub struct Lab {
    label: String,
    topology: Topology,
    net: Host,
    client: Host,
    balancer: Host,
    backends: Vec<Host>,
    keep: bool,
}

impl Lab {
    /// A lab under a name made of this process's number.
    ///
    /// # Errors
    /// If this is not root, or a command of the kernel's tools fails.
    pub fn new(topology: Topology, backends: usize) -> Result<Self> {
        let label = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self::named(&label, topology, backends)
    }

    /// A lab under a chosen name: its namespaces are `lbt-NAME-HOST`.
    ///
    /// # Errors
    /// As [`Lab::new`]; also if there are more backends than the address plan has room for.
    pub fn named(label: &str, topology: Topology, backends: usize) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes network namespaces, which takes root: run this as root");
        }
        if backends > addresses::MAX_BACKENDS {
            bail!("the lab has room for {} backends, not {backends}", addresses::MAX_BACKENDS);
        }
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // A test holds both ends of thousands of flows.
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        reap()?;
        let host = |name: String| Host::new(label, &name);
        let lab = Self {
            label: label.to_owned(),
            topology,
            net: host("net".into()),
            client: host("client".into()),
            balancer: host("lb".into()),
            backends: (0..backends).map(|i| host(format!("b{i}"))).collect(),
            keep: false,
        };
        // From here on a failure drops `lab`, which removes what was made.
        wiring::build(&lab)?;
        Ok(lab)
    }

    /// A lab made before, by [`Lab::named`] and [`Lab::keep`].
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn find(label: &str) -> Result<Self> {
        let names: Vec<String> = netns::list()?
            .into_iter()
            .filter_map(|n| n.strip_prefix(&format!("{}{label}-", netns::PREFIX)).map(str::to_owned))
            .collect();
        if !names.iter().any(|n| n == "net") {
            bail!("there is no lab '{label}'");
        }
        let host = |name: &str| Host::new(label, name);
        let balancer = host("lb");
        let two = balancer.run("ip", &["link", "show", "dev", "eth1"]).is_ok();
        let backends = names.iter().filter(|n| n.strip_prefix('b').is_some_and(|i| i.parse::<usize>().is_ok())).count();
        Ok(Self {
            label: label.to_owned(),
            topology: if two { Topology::TwoArmed } else { Topology::OneArmed },
            net: host("net"),
            client: host("client"),
            balancer,
            backends: (0..backends).map(|i| host(&format!("b{i}"))).collect(),
            keep: true,
        })
    }

    /// Leaves the lab standing when this value is dropped.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
    #[must_use]
    pub const fn topology(&self) -> Topology {
        self.topology
    }
    /// Where the bridges are, and the far ends of everyone's wires (`p-HOST`).
    #[must_use]
    pub const fn net(&self) -> &Host {
        &self.net
    }
    #[must_use]
    pub const fn client(&self) -> &Host {
        &self.client
    }
    #[must_use]
    pub const fn balancer(&self) -> &Host {
        &self.balancer
    }
    #[must_use]
    pub fn backends(&self) -> &[Host] {
        &self.backends
    }
    /// The balancer's interfaces, the clients' side first.
    #[must_use]
    pub const fn interfaces(&self) -> &'static [&'static str] {
        match self.topology {
            Topology::OneArmed => &["eth0"],
            Topology::TwoArmed => &["eth0", "eth1"],
        }
    }
    /// All hosts, the balancer's and the bridges' too.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        [&self.net, &self.client, &self.balancer].into_iter().chain(&self.backends)
    }

    /// Makes the service addresses the balancer's own, which the userspace engine needs to be reached (the XDP engine
    /// takes packets before the kernel asks whose they are).
    ///
    /// # Errors
    /// If the routes cannot be added.
    pub fn services_local_to_balancer(&self) -> Result<()> {
        for net in [addresses::VIPS4, addresses::VIPS6] {
            self.balancer.run("ip", &["route", "replace", "local", net, "dev", "lo"])?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep {
            for host in self.hosts() {
                netns::remove(host.netns());
            }
        }
    }
}
