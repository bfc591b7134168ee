//! The shop: a client, layer 4, two gateways and two hosts of services; certificates of an authority of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use lb_tests::lab::addresses::{Family, backend, balancer_back, vip};
use lb_tests::lab::{Lab, Topology};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

use crate::product::Product;

pub(crate) const GATEWAYS: usize = 2;
pub(crate) const HOST: &str = "shop.test";
/// Name, host in the lab, port.
const SERVICES: [(&str, usize, u16); 3] = [("orders", 2, 8080), ("catalog", 3, 8080), ("catalog-next", 3, 8081)];

/// Fields go in this order: what is in front first, the network last.
pub(crate) struct Shop {
    pub(crate) layer4: Product,
    gateways: Vec<Option<Product>>,
    services: Vec<Child>,
    pub(crate) lab: Lab,
    engine: String,
    canary: u32,
    authority: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Drop for Shop {
    fn drop(&mut self) {
        for s in &mut self.services {
            let _ = s.kill();
            let _ = s.wait();
        }
    }
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::new(vip(20, Family::V4), port)
}

pub(crate) fn gateway_address(index: usize, port: u16) -> SocketAddr {
    SocketAddr::new(backend(index, Family::V4), port)
}

pub(crate) fn pool_of(port: u16) -> &'static str {
    if port == 443 { "gateways" } else { "gateways-clear" }
}

impl Shop {
    pub(crate) fn build(engine: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lb-demo-shop").tempdir()?;
        let lab = Lab::new(Topology::TwoArmed, 4)?;
        if engine == "userspace" {
            lab.services_local_to_balancer()?;
        }
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("the shop's root");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(dir.path().join("root.pem"), authority.pem())?;
        files(dir.path())?;
        let layer4_dir = dir.path().join("layer4");
        std::fs::create_dir(&layer4_dir)?;
        let mut services = Vec::new();
        for (name, host, port) in SERVICES {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["service", name, &SocketAddr::new(backend(host, Family::V4), port).to_string()]);
            services.push(lab.backends()[host].spawn(&mut command)?);
        }
        let layer4 = Product::start(lab.balancer(), &layer4_dir, &layer4(engine, &layer4_dir))?;
        let gateways = (0..GATEWAYS).map(|_| None).collect();
        let engine = engine.to_owned();
        let mut shop = Self { layer4, gateways, services, lab, engine, canary: 10, authority, dir };
        shop.renew_certificate()?;
        for g in 0..GATEWAYS {
            shop.start_gateway(g)?;
        }
        lb_tests::clock::until("the gateways are healthy", std::time::Duration::from_secs(15), || {
            let list = shop.layer4.json(&["backend", "list"])?;
            Ok(list.as_array().is_some_and(|l| l.iter().all(|b| b["health"] == "healthy")).then_some(()))
        })?;
        Ok(shop)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    pub(crate) fn gateway(&self, index: usize) -> Result<&Product> {
        self.gateways.get(index).and_then(Option::as_ref).context("that gateway is stopped")
    }

    /// The access lines of all gateways.
    pub(crate) fn access_lines(&self) -> Vec<serde_json::Value> {
        let read = |g| std::fs::read_to_string(self.home(g).join("access.log")).unwrap_or_default();
        (0..GATEWAYS)
            .map(read)
            .flat_map(|t| t.lines().filter_map(|l| serde_json::from_str(l).ok()).collect::<Vec<_>>())
            .collect()
    }

    fn home(&self, gateway: usize) -> PathBuf {
        self.dir.path().join(format!("g{gateway}"))
    }

    pub(crate) fn start_gateway(&mut self, index: usize) -> Result<()> {
        let home = self.home(index);
        std::fs::create_dir_all(&home)?;
        let text = self.gateway_file(&home);
        self.gateways[index] = Some(Product::start(&self.lab.backends()[index], &home, &text)?);
        Ok(())
    }

    pub(crate) fn stop_gateway(&mut self, index: usize) -> Result<()> {
        match self.gateways[index].take() {
            Some(mut gateway) => gateway.stop(),
            None => Ok(()),
        }
    }

    /// Writes the gateways' files with another share for the new catalogue.
    pub(crate) fn shift_canary(&mut self, percent: u32) -> Result<()> {
        self.canary = percent;
        for g in 0..GATEWAYS {
            let home = self.home(g);
            write_whole(&home.join("lb.toml"), &self.gateway_file(&home))?;
        }
        Ok(())
    }

    /// Replaces the certificate on disk; the gateways notice.
    pub(crate) fn renew_certificate(&self) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![HOST.to_owned(), format!("*.{HOST}")])?;
        params.distinguished_name = named(HOST);
        let certificate = params.signed_by(&key, &self.authority)?;
        write_whole(&self.dir.path().join("shop.key"), &key.serialize_pem())?;
        write_whole(&self.dir.path().join("shop.pem"), &certificate.pem())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.layer4.stop()?;
        (0..GATEWAYS).try_for_each(|g| self.stop_gateway(g))
    }

    /// Every key in it is one that a user would write.
    fn gateway_file(&self, home: &Path) -> String {
        let (dir, home) = (self.dir.path().display(), home.display());
        let behind = match self.engine.as_str() {
            // The client's address comes with the packets (dsr), or in a header before the bytes.
            "userspace" => format!("proxy_protocol = true\ntrusted_proxies = [\"{}/32\"]\n", balancer_back(Family::V4)),
            _ => String::new(),
        };
        let pools: String = SERVICES
            .iter()
            .map(|(name, host, port)| {
                format!(
                    "[[pool]]\nname = \"{name}\"\nbackends = [{{ address = \"{}\" }}]\n[pool.health]\ntype = \
                     \"http\"\npath = \"/healthz\"\ninterval = \"500ms\"\ntimeout = \"400ms\"\n\n",
                    SocketAddr::new(backend(*host, Family::V4), *port)
                )
            })
            .collect();
        let rest = 100 - self.canary;
        let canary = self.canary;
        format!(
            r#"[host]
data_plane = "userspace"
state_dir = "{home}/state"
socket = "{home}/lb.sock"
access_log = "{home}/access.log"

{pools}[[listener]]
name = "edge"
listen = "0.0.0.0:443"
hsts = "1h"
{behind}
[[listener.certificate]]
cert = "{dir}/shop.pem"
key = "{dir}/shop.key"

[[listener]]
name = "clear"
listen = "0.0.0.0:80"
{behind}
[[route]]
name = "to-https"
listener = "clear"
redirect = {{ to = "https://{{host}}{{path}}" }}

[[route]]
name = "orders"
listener = "edge"
match = {{ host = "{HOST}", path = "/api/v2/orders/*" }}
rewrite = {{ strip_prefix = "/api/v2" }}
pool = "orders"

[[route]]
name = "catalog"
listener = "edge"
match = {{ host = "{HOST}", path = "/catalog/*" }}
split = [{{ pool = "catalog", weight = {rest} }}, {{ pool = "catalog-next", weight = {canary} }}]
compress = true

[[route]]
name = "prices"
listener = "edge"
match = {{ host = "{HOST}", path = "/catalog/prices" }}
pool = "catalog"
cache = {{ max_size = "16MiB" }}

[[route]]
name = "pages"
listener = "edge"
match = {{ host = "{HOST}" }}
files = {{ root = "{dir}/pages" }}
compress = true
"#
        )
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

fn files(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir.join("pages"))?;
    std::fs::write(
        dir.join("pages/index.html"),
        "<!doctype html><title>The shop</title><h1>Welcome</h1>\n".repeat(40),
    )?;
    Ok(())
}

/// As an editor does, so that nobody reads half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    Ok(std::fs::rename(fresh, path)?)
}

fn layer4(engine: &str, dir: &Path) -> String {
    let d = dir.display();
    let (forward, proxy) = if engine == "userspace" { ("nat", "send_proxy = \"v2\"\n") } else { ("dsr", "") };
    let mut text = format!(
        "[host]\ninterfaces = [\"eth0\", \"eth1\"]\ndata_plane = \"{engine}\"\nflow_table_size = 100_000\non_exit = \
         \"detach\"\nstate_dir = \"{d}/state\"\nsocket = \"{d}/lb.sock\"\npin_dir = \"/sys/fs/bpf/lb-demo-{}\"\n\n",
        std::process::id()
    );
    for port in [443, 80] {
        let backends: Vec<String> =
            (0..GATEWAYS).map(|g| format!("{{ address = \"{}\" }}", gateway_address(g, port))).collect();
        let pool = pool_of(port);
        text += &format!(
            "[[pool]]\nname = \"{pool}\"\nbackends = [{}]\n[pool.health]\ntype = \"tcp\"\ninterval = \"400ms\"\nrise = \
             1\n\n[[service]]\nname = \"{pool}\"\nlisten = \"{}/tcp\"\npool = \"{pool}\"\nforward = \
             \"{forward}\"\n{proxy}\n",
            backends.join(", "),
            address(port)
        );
    }
    text
}
