//! What carries the traffic: nothing, `lb` with each engine, nftables, HAProxy, nginx.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lb_tests::clock;
use lb_tests::daemon::{Daemon, Engine};
use lb_tests::lab::Lab;
use lb_tests::lab::addresses::{self, Family, VIPS4, vip};

use crate::pin;

/// The port that backends serve on and the service listens on.
pub(crate) const PORT: u16 = 8080;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The client talks to the backends itself: what the generator and the backends can do.
    Direct,
    Lb(Engine),
    Nftables,
    Haproxy,
    Nginx,
}

impl Target {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "no balancer",
            Self::Lb(Engine::Xdp) => "lb xdp",
            Self::Lb(Engine::XdpGeneric) => "lb xdp-generic",
            Self::Lb(Engine::Userspace) => "lb userspace",
            Self::Nftables => "nftables DNAT",
            Self::Haproxy => "HAProxy (mode tcp)",
            Self::Nginx => "nginx (stream)",
        }
    }

    /// Where clients connect to, in turn.
    pub(crate) fn addresses(self, lab: &Lab) -> Vec<SocketAddr> {
        match self {
            Self::Direct => backends(lab),
            _ => vec![service()],
        }
    }
}

pub(crate) fn service() -> SocketAddr {
    SocketAddr::new(vip(1, Family::V4), PORT)
}

fn backends(lab: &Lab) -> Vec<SocketAddr> {
    (0..lab.backends().len()).map(|i| SocketAddr::new(addresses::backend(i, Family::V4), PORT)).collect()
}

/// A target at work; it ends with this value.
pub(crate) enum Running {
    Nothing,
    Lb(Daemon),
    Process(Child),
    Rules,
}

impl Running {
    /// Starts it on the lab's balancer. Processes stay on `cpu`.
    pub(crate) fn start(target: Target, lab: &Lab, dir: &Path, cpu: usize, protocol: &str) -> Result<Self> {
        // A thread of its own, so that the pinning goes no further.
        std::thread::scope(|scope| {
            let started = scope.spawn(|| {
                pin::to(cpu)?;
                start(target, lab, dir, protocol)
            });
            started.join().map_err(|_| anyhow::anyhow!("starting {} panicked", target.name()))?
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Nothing | Self::Rules => None,
            Self::Lb(daemon) => daemon.pid(),
            Self::Process(child) => Some(child.id()),
        }
    }

    /// Ends it, and takes back what it did to the lab.
    pub(crate) fn stop(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Nothing => {}
            Self::Lb(mut daemon) => drop(daemon.terminate()?),
            Self::Process(mut child) => {
                // Both end their workers on SIGTERM.
                lab.balancer().run("kill", &[&child.id().to_string()])?;
                child.wait()?;
            }
            Self::Rules => drop(lab.balancer().run("nft", &["flush", "ruleset"])?),
        }
        Ok(())
    }
}

fn start(target: Target, lab: &Lab, dir: &Path, protocol: &str) -> Result<Running> {
    let proxy = matches!(target, Target::Haproxy | Target::Nginx | Target::Lb(Engine::Userspace));
    if proxy {
        lab.services_local_to_balancer()?;
    } else {
        // What a proxy left: for the others the service is nobody's address.
        let _ = lab.balancer().run("ip", &["route", "del", "local", VIPS4, "dev", "lo"]);
    }
    match target {
        Target::Direct => Ok(Running::Nothing),
        Target::Lb(engine) => {
            let text = lb_toml(lab, protocol);
            Ok(Running::Lb(Daemon::start_with(
                lab,
                engine,
                "flow_table_size = 1_000_000\non_exit = \"detach\"",
                &text,
            )?))
        }
        Target::Nftables => {
            let path = dir.join("nft");
            std::fs::write(&path, nft(lab, protocol))?;
            lab.balancer().run("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0"])?;
            lab.balancer().run("nft", &["-f", path.to_str().context("an odd path")?])?;
            Ok(Running::Rules)
        }
        Target::Haproxy => process(lab, "haproxy", &["-db", "-f"], &dir.join("haproxy.cfg"), &haproxy(lab)),
        Target::Nginx => process(lab, "nginx", &["-c"], &dir.join("nginx.conf"), &nginx(lab, dir)),
    }
}

fn process(lab: &Lab, program: &str, words: &[&str], file: &Path, text: &str) -> Result<Running> {
    std::fs::write(file, text)?;
    let mut command = Command::new(program);
    command.args(words).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = lab.balancer().spawn(&mut command)?;
    let up = clock::until("it listens", Duration::from_secs(10), || {
        if let Some(status) = child.try_wait()? {
            bail!("{program} ended with {status}");
        }
        let sockets = lab.balancer().run("ss", &["-Htln"])?;
        Ok(sockets.contains(&service().to_string()).then_some(()))
    });
    if let Err(e) = up {
        let _ = child.kill();
        let _ = child.wait();
        return Err(e.context(format!("{program} does not start")));
    }
    Ok(Running::Process(child))
}

fn lb_toml(lab: &Lab, protocol: &str) -> String {
    let backends: Vec<String> = backends(lab).iter().map(|b| format!("{{ address = \"{b}\" }}")).collect();
    format!(
        "[[pool]]\nname = \"web\"\nalgorithm = \"round-robin\"\nbackends = [{}]\n\n[[service]]\nname = \"web\"\n\
         listen = \"{}/{protocol}\"\npool = \"web\"\n",
        backends.join(", "),
        service()
    )
}

/// The same backends by the kernel's own means. Source NAT too, as ours does.
fn nft(lab: &Lab, protocol: &str) -> String {
    let list = backends(lab);
    let mut map = String::new();
    for (i, b) in list.iter().enumerate() {
        let _ = write!(map, "{}{i} : {}", if i > 0 { ", " } else { "" }, b.ip());
    }
    let (n, to) = (list.len(), service());
    format!(
        "flush ruleset\ntable ip lb {{\n  chain in {{ type nat hook prerouting priority dstnat;\n    ip daddr {ip} \
         {protocol} dport {port} dnat to jhash ip saddr . {protocol} sport mod {n} map {{ {map} }}\n  }}\n  chain out {{ \
         type nat hook postrouting priority srcnat; ct status dnat masquerade; }}\n}}\n",
        ip = to.ip(),
        port = to.port(),
    )
}

fn haproxy(lab: &Lab) -> String {
    let mut servers = String::new();
    for (i, b) in backends(lab).iter().enumerate() {
        let _ = writeln!(servers, "  server b{i} {b}");
    }
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\nfrontend in\n  bind {}\n  default_backend web\nbackend web\n  balance \
         roundrobin\n{servers}",
        service()
    )
}

fn nginx(lab: &Lab, dir: &Path) -> String {
    let servers: String = backends(lab).iter().map(|b| format!("    server {b};\n")).collect();
    let dir = dir.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\nuser root;\npid \
         {dir}/nginx.pid;\nerror_log {dir}/nginx.log crit;\nevents {{ worker_connections 4000; }}\nstream {{\n  upstream \
         web {{\n{servers}  }}\n  server {{\n    listen {} backlog=4096;\n    proxy_pass web;\n  }}\n}}\n",
        service()
    )
}
