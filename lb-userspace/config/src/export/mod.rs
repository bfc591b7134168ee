//! The desired state as a file that reads back to the same.

mod listener;
mod pool;
mod route;
mod service;

use std::fmt::Write as _;
use std::path::Path;

use lb_model::{AccessLog, AccessLogFormat, Desired, Host, OnExit, PlaneChoice};

use crate::units::{Duration, Size};

/// TOML. What is as by default is left out, but for the places that depend on who runs `lb`.
#[must_use]
pub fn export(desired: &Desired) -> String {
    let mut out = host(&desired.host);
    for p in desired.pools.values() {
        pool::write(&mut out, p);
    }
    for s in desired.services.values() {
        service::write(&mut out, s);
    }
    for l in desired.listeners.values() {
        listener::write(&mut out, l);
    }
    for r in &desired.routes {
        route::write(&mut out, r);
    }
    out
}

fn quoted(text: impl Into<String>) -> String {
    toml::Value::String(text.into()).to_string()
}

/// A key of the user's. Values' quotes may span lines, which keys' may not; JSON's are TOML's basic strings.
fn key(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn list<T: ToString>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|i| quoted(i.to_string())).collect::<Vec<_>>().join(", "))
}

fn path(p: &Path) -> String {
    quoted(p.display().to_string())
}

fn duration(d: std::time::Duration) -> String {
    quoted(Duration(d).to_string())
}

fn size(bytes: u64) -> String {
    quoted(Size(bytes).to_string())
}

fn percent(p: u8) -> String {
    quoted(format!("{p}%"))
}

/// `key = value` lines, the `=` of a section one below the other.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn put(&mut self, key: &'static str, value: impl Into<String>) -> &mut Self {
        self.0.push((key, value.into()));
        self
    }
    fn put_if(&mut self, wanted: bool, key: &'static str, value: impl Into<String>) -> &mut Self {
        if wanted { self.put(key, value) } else { self }
    }
    fn put_some<T>(&mut self, key: &'static str, value: Option<T>, text: impl FnOnce(T) -> String) -> &mut Self {
        match value {
            Some(value) => self.put(key, text(value)),
            None => self,
        }
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// As an inline table.
    fn inline(&self) -> String {
        let fields: Vec<String> = self.0.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
    }
    fn write(&self, out: &mut String, heading: &str) {
        let width = self.0.iter().map(|(k, _)| k.len()).max().unwrap_or(0);
        let within = ["[pool.", "[[listener."].iter().any(|part| heading.starts_with(part));
        if !out.is_empty() && !within {
            out.push('\n');
        }
        let _ = writeln!(out, "{heading}");
        for (key, value) in &self.0 {
            let _ = writeln!(out, "{key:width$} = {value}");
        }
    }
}

pub(crate) const fn plane(choice: PlaneChoice) -> &'static str {
    match choice {
        PlaneChoice::Auto => "auto",
        PlaneChoice::Xdp => "xdp",
        PlaneChoice::XdpGeneric => "xdp-generic",
        PlaneChoice::Userspace => "userspace",
    }
}

fn host(h: &Host) -> String {
    let usual = Host::default();
    let mut lines = Lines(Vec::new());
    lines
        .put_if(!h.interfaces.is_empty(), "interfaces", list(&h.interfaces))
        .put("data_plane", quoted(plane(h.data_plane)))
        .put("state_dir", path(&h.state_dir))
        .put_if(h.flow_table_size != usual.flow_table_size, "flow_table_size", h.flow_table_size.to_string())
        .put_if(h.on_exit == OnExit::Detach, "on_exit", quoted("detach"))
        .put("socket", path(&h.socket))
        .put_if(h.pin_dir != usual.pin_dir, "pin_dir", path(&h.pin_dir));
    if let Some(m) = h.metrics {
        lines.put("metrics", quoted(m.to_string()));
    }
    lines.put_if(!h.snat_addresses.is_empty(), "snat_addresses", list(&h.snat_addresses));
    match &h.access_log {
        AccessLog::Stdout => {}
        AccessLog::Off => drop(lines.put("access_log", quoted("off"))),
        // A path of one of the words is told apart by its directory.
        AccessLog::File(p) if p.parent().is_none_or(|d| d.as_os_str().is_empty()) => {
            lines.put("access_log", path(&Path::new(".").join(p)));
        }
        AccessLog::File(p) => drop(lines.put("access_log", path(p))),
    }
    lines
        .put_if(h.access_log_format == AccessLogFormat::Combined, "access_log_format", quoted("combined"))
        .put_if(h.access_log_sample != usual.access_log_sample, "access_log_sample", percent(h.access_log_sample))
        .put_if(h.shutdown_timeout != usual.shutdown_timeout, "shutdown_timeout", duration(h.shutdown_timeout));
    let mut out = String::new();
    lines.write(&mut out, "[host]");
    out
}
