//! Whether packets of a service can reach its pool's backends the way they are to be forwarded.

use std::collections::HashSet;

use lb_model::{BackendAddress, Forward, Listen, PlaneChoice, Protocol};

use super::Pools;
use crate::read::{Draft, DraftBackend, DraftPool, DraftService};
use crate::report::{Problem, Report};

pub(super) fn check(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    // A backend is blamed once, however many services share it.
    let mut blamed = HashSet::new();
    for service in &draft.services {
        engine(draft, service, report);
        let (Some(listen), Some(forward)) = (service.listen, service.forward) else { continue };
        let Some(pool) = service.pool.as_ref().and_then(|p| pools.get(p.as_str())) else { continue };
        for backend in &pool.backends {
            let found = itself(listen, backend)
                .or_else(|| port(service, listen, forward, backend))
                .or_else(|| family(draft, service, listen, forward, backend));
            if let Some(problem) = found.filter(|_| blamed.insert(backend.place.start)) {
                report.error(backend.place.clone(), problem);
            }
        }
    }
    draft.pools.iter().for_each(|pool| probe_port(pool, report));
}

/// What the chosen engine cannot do at all.
fn engine(draft: &Draft, service: &DraftService, report: &mut Report<'_>) {
    let Some(plane) = draft.host.data_plane else { return };
    let userspace = plane == PlaneChoice::Userspace;
    if service.forward == Some(Forward::Dsr) && userspace {
        let problem = Problem::new("the userspace data plane cannot forward by dsr, which needs XDP");
        report
            .error(service.table.place("forward"), problem.hint("use forward = \"nat\", or another [host] data_plane"));
    }
    if service.send_proxy.is_some() {
        let place = service.table.place("send_proxy");
        if service.listen.is_some_and(|l| l.protocol == Protocol::Udp) {
            report.error(place, Problem::new("send_proxy is for TCP services; this one is UDP"));
        } else if !userspace {
            let problem = Problem::new("send_proxy needs the userspace data plane");
            report.error(
                place,
                problem.hint("set [host] data_plane = \"userspace\"; under XDP, dsr keeps the client's address"),
            );
        }
    }
}

fn itself(listen: Listen, backend: &DraftBackend) -> Option<Problem> {
    let BackendAddress::Ip { ip, port } = backend.address else { return None };
    let same = ip == listen.address && port.is_none_or(|p| listen.ports.contains(p));
    let problem = || {
        Problem::new(format!(
            "the backend {} is the service's own address: packets would go in a circle",
            backend.address
        ))
    };
    same.then(problem)
}

fn port(service: &DraftService, listen: Listen, forward: Forward, backend: &DraftBackend) -> Option<Problem> {
    let name = service.name.as_ref().map_or("?", |n| n.as_str());
    let address = &backend.address;
    match (address.port(), listen.ports.is_single()) {
        (Some(port), false) => {
            let bare = bare(address);
            let problem = Problem::new(format!(
                "the backend {address} has port {port}, but service '{name}' keeps the packet's port: it listens on {listen}"
            ));
            Some(problem.hint(format!("write address = \"{bare}\"")))
        }
        (Some(port), true) if forward == Forward::Dsr && port != listen.ports.first() => {
            let own = listen.ports.first();
            let problem = Problem::new(format!(
                "dsr keeps the port, but the backend {address} has port {port} and service '{name}' has port {own}"
            ));
            Some(problem.hint(format!(
                "let both have one port, or use forward = \"nat\" (backend port {port}, service port {own})"
            )))
        }
        (None, true) if forward == Forward::Nat => {
            let port = listen.ports.first();
            let with = match address {
                BackendAddress::Ip { ip, .. } => BackendAddress::Ip { ip: *ip, port: Some(port) },
                BackendAddress::Host { host, .. } => BackendAddress::Host { host: host.clone(), port: Some(port) },
            };
            let problem = Problem::new(format!("the backend {address} has no port, and service '{name}' needs one"));
            let also = read_as_port(address).map_or_else(String::new, |a| format!(", or \"{a}\" if that is its port"));
            Some(problem.hint(format!("write address = \"{with}\"{also}")))
        }
        _ => None,
    }
}

/// An IPv6 address without brackets whose last group may have been meant as the port.
fn read_as_port(address: &BackendAddress) -> Option<std::net::SocketAddr> {
    let text = address.to_string();
    let (host, port) = text.rsplit_once(':')?;
    format!("[{host}]:{port}").parse().ok()
}

fn bare(address: &BackendAddress) -> BackendAddress {
    match address {
        BackendAddress::Ip { ip, .. } => BackendAddress::Ip { ip: *ip, port: None },
        BackendAddress::Host { host, .. } => BackendAddress::Host { host: host.clone(), port: None },
    }
}

fn family(
    draft: &Draft,
    service: &DraftService,
    listen: Listen,
    forward: Forward,
    backend: &DraftBackend,
) -> Option<Problem> {
    let BackendAddress::Ip { ip, .. } = backend.address else { return None };
    let plane = draft.host.data_plane?;
    if ip.is_ipv4() == listen.address.is_ipv4() || (plane == PlaneChoice::Userspace && forward == Forward::Nat) {
        return None;
    }
    let family = |v4| if v4 { "IPv4" } else { "IPv6" };
    let name = service.name.as_ref().map_or("?", |n| n.as_str());
    let (own, other) = (family(listen.address.is_ipv4()), family(ip.is_ipv4()));
    let problem = Problem::new(format!(
        "service '{name}' listens on {own} ({}), so its packets cannot be forwarded to {other} ({ip}) by {forward}",
        listen.address
    ));
    let way = if forward == Forward::Nat { ", or set [host] data_plane = \"userspace\", which can" } else { "" };
    Some(problem.hint(format!("use {own} backends{way}")))
}

fn probe_port(pool: &DraftPool, report: &mut Report<'_>) {
    let Some((table, Some(check))) = &pool.health else { return };
    let bare = pool.backends.iter().find(|b| b.address.port().is_none());
    if let (Some(backend), None) = (bare, check.port) {
        let problem = Problem::new(format!(
            "the backend {} has no port, so the health check needs to be told one",
            backend.address
        ));
        report.error(table.span.clone(), problem.hint("add port = 80, or whichever answers"));
    }
}
