//! `[[listener]]`.

use std::net::SocketAddr;

use lb_model::http::{ClientAuth, Listener, ListenerLimits, ListenerTimeouts, Protocols, TlsVersion};
use lb_model::{Name, Prefix};

use super::certificate;
use super::places::Places;
use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;
use crate::value::At;

#[derive(Debug)]
pub(crate) struct DraftListener {
    pub(crate) table: Table,
    pub(crate) name: Option<Name>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) protocols: Option<Protocols>,
    listener: Option<Listener>,
}

pub(crate) fn read(table: Table, places: &mut Places, report: &mut Report<'_>) -> DraftListener {
    let listen = address(&table, report);
    // Also one that could not be read makes the listener speak TLS.
    let tls = table.is_written("certificate");
    let protocols = protocols(&table, tls, report);
    let certificates = certificate::read_all(&table, places, report);
    let client_auth = client_auth(&table, tls, places, report);
    trust(&table, protocols, report);
    clear(&table, tls, report);
    let name: Option<Name> = table.get("name");
    let timeouts = timeouts(&table.inner("timeout", report));
    let limits = limits(&table.inner("limits", report));
    let tls_min = match table.inner("tls", report).get::<&str>("min") {
        Some("1.3") => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    };
    let listener = (|| {
        let mut listener = Listener::new(name.clone()?, listen?);
        listener.protocols = protocols?;
        listener.proxy_protocol = table.get("proxy_protocol")?;
        listener.trusted_proxies = table.list::<Prefix>("trusted_proxies").into_iter().map(|p| p.value).collect();
        listener.certificates = certificates;
        listener.client_auth = client_auth;
        listener.tls_min = tls_min;
        listener.hsts = table.get("hsts")?;
        listener.timeouts = timeouts?;
        listener.limits = limits?;
        Some(listener)
    })();
    DraftListener { name, listen, protocols, listener, table }
}

fn address(table: &Table, report: &mut Report<'_>) -> Option<SocketAddr> {
    let listen: SocketAddr = table.get("listen")?;
    let ill = match listen.ip() {
        std::net::IpAddr::V4(a) if a.is_broadcast() || a.is_multicast() => Some("name one host's address"),
        std::net::IpAddr::V6(a) if a.is_multicast() => Some("name one host's address"),
        std::net::IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Some("write an IPv4 address as such"),
        _ => None,
    };
    let Some(hint) = ill else { return Some(listen) };
    let problem = Problem::new(format!("a listener cannot listen on {}", listen.ip()));
    report.error(table.place("listen"), problem.hint(hint));
    None
}

fn protocols(table: &Table, tls: bool, report: &mut Report<'_>) -> Option<Protocols> {
    let usual = Protocols { h1: true, h2: tls, ..Protocols::default() };
    if !table.is_written("protocols") {
        return Some(usual);
    }
    let written: Vec<At<&'static str>> = table.list("protocols");
    let mut protocols = Protocols::default();
    let mut good = true;
    for At { span, value } in written {
        let (flag, fits) = match value {
            "h2" => (&mut protocols.h2, tls),
            "h3" => (&mut protocols.h3, tls),
            "h2c" => (&mut protocols.h2c, !tls),
            _ => (&mut protocols.h1, true),
        };
        let problem = if std::mem::replace(flag, true) {
            Problem::new(format!("{value} is here a second time")).hint("keep one of them")
        } else if fits {
            continue;
        } else {
            misplaced(value)
        };
        report.error(span, problem);
        good = false;
    }
    if table.is_empty_list("protocols") {
        let problem = Problem::new("a listener without protocols serves nobody");
        report.error(table.place("protocols"), problem.hint("leave protocols out for the usual ones"));
        return None;
    }
    good.then_some(protocols)
}

fn misplaced(protocol: &str) -> Problem {
    match protocol {
        "h2c" => Problem::new("h2c is HTTP/2 in clear text, and this listener has certificates")
            .hint("write \"h2\", which is HTTP/2 over TLS"),
        "h2" => Problem::new("h2 needs TLS, and this listener has no certificate")
            .hint("add [[listener.certificate]], or write \"h2c\" for HTTP/2 in clear text"),
        _ => Problem::new("h3 needs TLS, and this listener has no certificate").hint("add [[listener.certificate]]"),
    }
}

/// A PROXY header is believed from named peers only, and QUIC has none.
fn trust(table: &Table, protocols: Option<Protocols>, report: &mut Report<'_>) {
    if table.get("proxy_protocol") != Some(true) {
        return;
    }
    if !table.is_written("trusted_proxies") || table.is_empty_list("trusted_proxies") {
        let problem = Problem::new("proxy_protocol without trusted_proxies: no peer's header would be believed");
        report.error(
            table.place("proxy_protocol"),
            problem.hint("add trusted_proxies = [\"10.0.0.0/8\"], the addresses of the proxies before this one"),
        );
    }
    if protocols.is_some_and(|p| p.h3) {
        let problem = Problem::new("the PROXY protocol is TCP's, and h3 comes by UDP");
        report.error(table.place("proxy_protocol"), problem.hint("take \"h3\" out of protocols"));
    }
}

fn client_auth(table: &Table, tls: bool, places: &mut Places, report: &mut Report<'_>) -> Option<ClientAuth> {
    let written = table.key_place("client_auth");
    if let (Some(place), false) = (written, table.is_written("client_ca")) {
        let problem = Problem::new("client_auth without client_ca: no client's certificate could be verified");
        report.error(place, problem.hint("add client_ca = \"clients.pem\""));
    }
    let ca = places.file(table, "client_ca")?;
    if !tls {
        let problem = Problem::new("client_ca needs TLS, and this listener has no certificate");
        report.error(table.place("client_ca"), problem.hint("add [[listener.certificate]]"));
    }
    Some(ClientAuth { ca, required: table.get::<&str>("client_auth") != Some("optional") })
}

/// What only TLS has any use for.
fn clear(table: &Table, tls: bool, report: &mut Report<'_>) {
    let mut useless: Vec<(&str, Span)> = Vec::new();
    if !tls {
        useless.extend(["tls", "hsts"].iter().filter_map(|key| Some((*key, table.key_place(key)?))));
    }
    for (key, place) in useless {
        let problem = Problem::new(format!("{key} does nothing on a listener in clear text"));
        report.warning(place, problem.hint("add [[listener.certificate]]"));
    }
}

fn timeouts(t: &Table) -> Option<ListenerTimeouts> {
    Some(ListenerTimeouts { header: t.get("header")?, body: t.get("body")?, idle: t.get("idle")?, tls: t.get("tls")? })
}

fn limits(t: &Table) -> Option<ListenerLimits> {
    let number = |key| t.get::<i64>(key).and_then(|n| n.try_into().ok());
    Some(ListenerLimits {
        header: t.get("header")?,
        fields: number("fields")?,
        uri: t.get("uri")?,
        streams: number("streams")?,
        requests_per_connection: t.get::<i64>("requests_per_connection")?.try_into().ok()?,
    })
}

impl DraftListener {
    /// Names that its certificates are for; `None`: clear text, or not all of them are written here.
    pub(crate) fn certified(&self) -> Option<Vec<&str>> {
        let certificates = &self.listener.as_ref()?.certificates;
        let named = !certificates.is_empty() && certificates.iter().all(|c| !c.names.is_empty());
        named.then(|| certificates.iter().flat_map(|c| &c.names).map(String::as_str).collect())
    }

    pub(super) fn into_listener(self) -> Option<Listener> {
        self.listener
    }
}
