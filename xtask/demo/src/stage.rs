//! The stage: a client, a balancer and four backends in namespaces, and `lb run` between them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::Result;
use lb_tests::lab::addresses::{Family, backend, vip};
use lb_tests::lab::{Lab, Topology};

use crate::product::Product;

/// The HTTP backends of pool `web`: names and weights.
pub(crate) const WEB: [(&str, u32); 3] = [("b0", 3), ("b1", 2), ("b2", 1)];
/// The UDP backend of pool `names`.
pub(crate) const UDP: &str = "b3";

/// Health checks of pool `web`, in milliseconds, and how many failures in a row make a backend unhealthy.
pub(crate) const INTERVAL_MS: u64 = 400;
pub(crate) const TIMEOUT_MS: u64 = 400;
pub(crate) const FALL: u64 = 2;

pub(crate) struct Stage {
    // In the order in which they must go: the balancer, the backends, the network.
    pub(crate) lb: Product,
    backends: Vec<Child>,
    pub(crate) lab: Lab,
    _dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn build(engine: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lb-demo").tempdir()?;
        let lab = Lab::new(Topology::TwoArmed, WEB.len() + 1)?;
        if engine == "userspace" {
            lab.services_local_to_balancer()?;
        }
        let mut backends = Backends(Vec::new());
        for index in 0..lab.backends().len() {
            backends.0.push(start(&lab, index)?);
        }
        let lb = Product::start(lab.balancer(), dir.path(), &configuration(engine, dir.path()))?;
        Ok(Self { lb, backends: std::mem::take(&mut backends.0), lab, _dir: dir })
    }

    /// Ends a backend's process at once, as a crash does.
    pub(crate) fn kill(&mut self, index: usize) -> Result<()> {
        self.backends[index].kill()?;
        self.backends[index].wait()?;
        Ok(())
    }
    pub(crate) fn revive(&mut self, index: usize) -> Result<()> {
        self.backends[index] = start(&self.lab, index)?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(Backends(std::mem::take(&mut self.backends)));
    }
}

/// Backends that end with this value.
struct Backends(Vec<Child>);

impl Drop for Backends {
    fn drop(&mut self) {
        for b in &mut self.0 {
            let _ = b.kill();
            let _ = b.wait();
        }
    }
}

pub(crate) fn web() -> SocketAddr {
    SocketAddr::new(vip(10, Family::V4), 80)
}
pub(crate) fn names() -> SocketAddr {
    SocketAddr::new(vip(10, Family::V4), 53)
}
pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::new(backend(index, Family::V4), if index < WEB.len() { 8080 } else { 5353 })
}

fn start(lab: &Lab, index: usize) -> Result<Child> {
    let (role, name) = WEB.get(index).map_or(("udp", UDP), |(name, _)| ("http", *name));
    let mut command = Command::new(std::env::current_exe()?);
    command.args([role, name, &address(index).to_string()]);
    lab.backends()[index].spawn(&mut command)
}

/// The file that `lb run` gets; every key in it is one that a user would write.
fn configuration(engine: &str, dir: &Path) -> String {
    let dir = dir.display();
    let pins = format!("/sys/fs/bpf/lb-demo-{}", std::process::id());
    let backends: Vec<String> = WEB
        .iter()
        .enumerate()
        .map(|(i, (_, weight))| format!("  {{ address = \"{}\", weight = {weight} }},\n", address(i)))
        .collect();
    format!(
        r#"[host]
interfaces = ["eth0", "eth1"]
data_plane = "{engine}"
flow_table_size = 100_000
on_exit = "detach"
state_dir = "{dir}/state"
socket = "{dir}/lb.sock"
pin_dir = "{pins}"

[[pool]]
name = "web"
algorithm = "weighted-round-robin"
backends = [
{backends}]
[pool.health]
type = "http"
path = "/healthz"
interval = "{INTERVAL_MS}ms"
timeout = "{TIMEOUT_MS}ms"
rise = 2
fall = {FALL}

[[pool]]
name = "names"
backends = [{{ address = "{udp}" }}]

[[service]]
name = "web"
listen = "{web}/tcp"
pool = "web"

[[service]]
name = "names"
listen = "{names}/udp"
pool = "names"
"#,
        backends = backends.concat(),
        udp = address(WEB.len()),
        web = web(),
        names = names(),
    )
}
