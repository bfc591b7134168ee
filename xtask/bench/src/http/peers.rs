//! The proxies and their backend: processes on loopback, started for a sample and ended after it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lb_tests::clock;

use super::{configs, start};
use crate::pin;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Lb,
    Nginx,
    Haproxy,
    /// What hyper can do with nothing in the way.
    Bare,
}

impl Peer {
    pub(super) const ALL: [Self; 4] = [Self::Lb, Self::Nginx, Self::Haproxy, Self::Bare];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Bare => "bare hyper",
        }
    }
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Bare => "bare",
        }
    }
    const fn port(self) -> u16 {
        18_100 + 10 * self as u16
    }
    pub(super) fn clear(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }
    pub(super) fn tls(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port() + 1).into()
    }
}

/// The backend, certificates and a place for configurations.
#[derive(Debug)]
pub(super) struct Rig {
    dir: tempfile::TempDir,
    cpu: usize,
    _backend: Running,
}

impl Rig {
    /// `cpu`: the proxies'.
    pub(super) fn new(cpu: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lb-bench-http").tempdir()?;
        let at = dir.path();
        let cert = rcgen::generate_simple_self_signed(vec!["bench.test".into(), "127.0.0.1".into()])?;
        let (chain, key) = (cert.cert.pem(), cert.signing_key.serialize_pem());
        std::fs::write(at.join("cert.pem"), &chain)?;
        std::fs::write(at.join("key.pem"), &key)?;
        std::fs::write(at.join("both.pem"), chain + &key)?;
        std::fs::create_dir(at.join("big"))?;
        std::fs::write(at.join("big/1m"), vec![b'x'; 1 << 20])?;
        let file = at.join("backend.conf");
        std::fs::write(&file, configs::backend(at))?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file);
        let backend = Running::start(command, &at.join("backend.out"), (Ipv4Addr::LOCALHOST, configs::BACKEND).into())?;
        Ok(Self { _backend: backend, dir, cpu })
    }

    pub(super) fn start(&self, peer: Peer) -> Result<Running> {
        let (at, clear, tls) = (self.dir.path(), peer.clear().port(), peer.tls().port());
        let config = |name: &str, text: String| -> Result<PathBuf> {
            let file = at.join(name);
            std::fs::write(&file, text)?;
            Ok(file)
        };
        let command = match peer {
            Peer::Nginx => {
                let mut c = Command::new("nginx");
                c.arg("-c").arg(config("nginx.conf", configs::nginx(at, clear, tls))?);
                c
            }
            Peer::Haproxy => {
                let mut c = Command::new("haproxy");
                c.args(["-db", "-f"]).arg(config("haproxy.cfg", configs::haproxy(at, clear, tls))?);
                c
            }
            Peer::Lb => {
                return self.start_lb_with(&start::routes_text(999));
            }
            Peer::Bare => {
                let mut c = Command::new(std::env::current_exe()?);
                c.args(["bare-proxy", &peer.clear().to_string(), &peer.tls().to_string()]);
                c.arg(format!("127.0.0.1:{}", configs::BACKEND)).arg(at.join("cert.pem")).arg(at.join("key.pem"));
                c
            }
        };
        self.launch(peer, command)
    }

    /// `lb` with these routes before those that take what is asked.
    pub(super) fn start_lb_with(&self, routes: &str) -> Result<Running> {
        let (at, peer) = (self.dir.path(), Peer::Lb);
        let file = at.join("lb.toml");
        std::fs::write(&file, configs::lb(at, peer.clear().port(), peer.tls().port(), peer.port() + 2, routes))?;
        let mut command = Command::new(std::env::var_os("LB_BIN").context("LB_BIN says where lb is")?);
        command.args(["run", "--config"]).arg(file);
        self.launch(peer, command)
    }

    fn launch(&self, peer: Peer, command: Command) -> Result<Running> {
        let out = self.dir.path().join(format!("{}.out", peer.port()));
        let to = peer.tls();
        // A thread of its own, so that the pinning goes no further.
        std::thread::scope(|scope| {
            let started = scope.spawn(|| {
                pin::to(self.cpu)?;
                Running::start(command, &out, to)
            });
            started.join().map_err(|_| anyhow::anyhow!("starting {} panicked", peer.name()))?
        })
    }
}

/// A process that ends with this value.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
}

impl Running {
    fn start(mut command: Command, out: &std::path::Path, to: SocketAddr) -> Result<Self> {
        let file = File::create(out)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut running = Self { child };
        clock::until("it listens", Duration::from_secs(10), || {
            if let Some(status) = running.child.try_wait()? {
                let said = std::fs::read_to_string(out).unwrap_or_default();
                bail!("{command:?} ended with {status}: {said}");
            }
            Ok(TcpStream::connect(to).is_ok().then_some(()))
        })?;
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stop(mut self) -> Result<()> {
        self.end();
        self.child.wait()?;
        Ok(())
    }

    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap_or(i32::MAX));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        let ended = clock::until("it ends", Duration::from_secs(5), || Ok(self.child.try_wait()?.map(|_| ())));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
