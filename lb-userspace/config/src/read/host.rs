//! `[host]`.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lb_model::{AccessLog, AccessLogFormat, Host, OnExit, PlaneChoice};

use crate::environment::Environment;
use crate::report::{Problem, Report};
use crate::table::Table;
use crate::value::At;

#[derive(Debug)]
pub(crate) struct DraftHost {
    pub(crate) table: Option<Table>,
    pub(crate) host: Host,
    /// `None`: what was written is no data plane.
    pub(crate) data_plane: Option<PlaneChoice>,
}

pub(crate) fn read(
    table: Option<Table>,
    directory: &Path,
    environment: &Environment,
    report: &mut Report<'_>,
) -> DraftHost {
    // Defaults are the declaration's, so an absent table is read like an empty one.
    let t = table.clone().unwrap_or_else(|| Table::read(&crate::keys::HOST, 0..0, &toml::de::DeTable::new(), report));
    let path = |key| t.get::<PathBuf>(key).map(|p| directory.join(p));
    let data_plane = t.get::<&str>("data_plane").and_then(|word| match word {
        "auto" => Some(PlaneChoice::Auto),
        "xdp" => Some(PlaneChoice::Xdp),
        "xdp-generic" => Some(PlaneChoice::XdpGeneric),
        "userspace" => Some(PlaneChoice::Userspace),
        _ => None,
    });
    let snat = t.list::<IpAddr>("snat_addresses");
    for at in &snat {
        if at.value.is_unspecified() || at.value.is_multicast() || at.value.is_loopback() {
            let problem = Problem::new(format!("replies cannot come back to the source address {}", at.value));
            report.error(at.span.clone(), problem.hint("name addresses that this host has on its interfaces"));
        }
    }
    socket_fits(&t, path("socket"), report);
    let host = Host {
        interfaces: once_each("interface", t.list("interfaces"), report),
        data_plane: data_plane.unwrap_or_default(),
        state_dir: path("state_dir").unwrap_or_else(|| environment.state_dir()),
        flow_table_size: t.get::<i64>("flow_table_size").and_then(|n| n.try_into().ok()).unwrap_or_default(),
        on_exit: if t.get::<&str>("on_exit") == Some("detach") { OnExit::Detach } else { OnExit::Keep },
        socket: path("socket").unwrap_or_else(|| environment.socket()),
        pin_dir: path("pin_dir").unwrap_or_default(),
        metrics: t.get("metrics"),
        snat_addresses: once_each("address", snat, report),
        access_log: access_log(&t, directory),
        access_log_format: match t.get("access_log_format") {
            Some("combined") => AccessLogFormat::Combined,
            _ => AccessLogFormat::Json,
        },
        access_log_sample: t.get("access_log_sample").unwrap_or_default(),
        shutdown_timeout: t.get("shutdown_timeout").unwrap_or_default(),
    };
    DraftHost { table, host, data_plane }
}

/// A file that is called `off` is written `./off`.
fn access_log(t: &Table, directory: &Path) -> AccessLog {
    match t.get::<PathBuf>("access_log") {
        Some(path) if path.as_os_str() == "off" => AccessLog::Off,
        Some(path) if path.as_os_str() != "stdout" => AccessLog::File(directory.join(path)),
        _ => AccessLog::Stdout,
    }
}

/// `sockaddr_un` has room for 107 bytes and the end (unix(7)).
fn socket_fits(t: &Table, path: Option<PathBuf>, report: &mut Report<'_>) {
    const MOST: usize = 107;
    let length = path.map_or(0, |p| p.as_os_str().len());
    if length > MOST {
        let problem =
            Problem::new(format!("the socket's path is {length} bytes long, and a Unix socket's may have {MOST}"));
        report.error(t.place("socket"), problem);
    }
}

fn once_each<T: Eq + Hash + Clone + std::fmt::Display>(
    what: &str,
    items: Vec<At<T>>,
    report: &mut Report<'_>,
) -> Vec<T> {
    let mut seen = HashSet::new();
    for item in &items {
        if !seen.insert(item.value.clone()) {
            let problem = Problem::new(format!("the {what} '{}' is here a second time", item.value));
            report.error(item.span.clone(), problem.hint("keep one of them"));
        }
    }
    items.into_iter().map(|i| i.value).collect()
}
