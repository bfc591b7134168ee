//! What layer 7 reads of a `[[pool]]`.

use http::HeaderName;
use lb_model::http::{
    HashOn, HttpAlgorithm, HttpPool, Outlier, Queue, SameSite, Sticky, UpstreamProtocol, UpstreamTls,
};

use super::places::Places;
use crate::report::{Problem, Report};
use crate::table::Table;

pub(super) fn read(table: &Table, places: &mut Places, report: &mut Report<'_>) -> Option<HttpPool> {
    let usual = HttpPool::default();
    let inner: Option<Table> = table.get("tls");
    let tls = inner.as_ref().map(|t| tls(t, places, report));
    let protocol = protocol(table, report);
    let queue: Option<Table> = table.get("queue");
    Some(HttpPool {
        algorithm: algorithm(table)?,
        hash_on: hash_on(table)?,
        protocol: protocol?,
        tls: tls.flatten(),
        sticky: table.get::<Table>("sticky").as_ref().and_then(sticky),
        outlier: table.get::<Table>("outlier").as_ref().and_then(outlier),
        drain_timeout: table.get("drain_timeout")?,
        slow_start: table.get("slow_start")?,
        max_requests: number(table, "max_requests")?,
        queue: match &queue {
            Some(t) => Queue { size: number(t, "size")?, timeout: t.get("timeout")? },
            None => usual.queue,
        },
    })
}

fn number(table: &Table, key: &str) -> Option<u32> {
    table.get::<i64>(key)?.try_into().ok()
}

/// As written, else layer 7's own default.
pub(super) fn algorithm(table: &Table) -> Option<HttpAlgorithm> {
    if !table.is_written("algorithm") {
        return Some(HttpAlgorithm::default());
    }
    table.get::<&str>("algorithm")?.parse().ok()
}

fn hash_on(table: &Table) -> Option<HashOn> {
    let text: String = table.get("hash_on")?;
    Some(match text.split_once(':') {
        Some(("header", name)) => HashOn::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
        Some((_, name)) => HashOn::Cookie(name.to_owned()),
        None if text == "path" => HashOn::Path,
        None => HashOn::ClientIp,
    })
}

fn protocol(table: &Table, report: &mut Report<'_>) -> Option<UpstreamProtocol> {
    let word: &str = table.get("protocol")?;
    let tls = table.is_written("tls");
    match (word, tls) {
        ("h2", false) => {
            let problem = Problem::new("h2 is HTTP/2 over TLS, and this pool has no tls");
            report.error(
                table.place("protocol"),
                problem.hint("add tls = {}, or write protocol = \"h2c\" for HTTP/2 in clear text"),
            );
            None
        }
        ("h2c", true) => {
            let problem = Problem::new("h2c is HTTP/2 in clear text, and this pool has tls");
            report.error(table.place("protocol"), problem.hint("write protocol = \"h2\", or take tls out"));
            None
        }
        ("h2", true) => Some(UpstreamProtocol::H2),
        ("h2c", false) => Some(UpstreamProtocol::H2c),
        _ => Some(UpstreamProtocol::H1),
    }
}

fn tls(table: &Table, places: &mut Places, report: &mut Report<'_>) -> Option<UpstreamTls> {
    let verify: Option<bool> = table.get("verify");
    if let (Some(false), Some(place)) = (verify, table.key_place("ca")) {
        let problem = Problem::new("ca does nothing with verify = false");
        report.warning(place, problem.hint("take one of them out"));
    }
    Some(UpstreamTls {
        ca: places.file(table, "ca"),
        server_name: table.get::<String>("server_name").map(|n| n.to_ascii_lowercase()),
        client: pair(table, places, report),
        verify: verify?,
    })
}

/// `cert` and `key`: both or none.
pub(super) fn pair(
    table: &Table,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let (Some(place), false) = (table.key_place(one), table.is_written(other)) {
            let problem = Problem::new(format!("{one} without {other}"));
            report.error(place, problem.hint(format!("add {other} = \"…\", the file (PEM) that belongs to it")));
        }
    }
    let (cert, key) = (places.file(table, "cert"), places.file(table, "key"));
    cert.zip(key)
}

fn sticky(table: &Table) -> Option<Sticky> {
    Some(Sticky {
        cookie: table.get("cookie")?,
        ttl: table.get("ttl")?,
        same_site: match table.get::<&str>("same_site")? {
            "Strict" => SameSite::Strict,
            "None" => SameSite::None,
            _ => SameSite::Lax,
        },
    })
}

fn outlier(table: &Table) -> Option<Outlier> {
    Some(Outlier {
        consecutive_errors: number(table, "consecutive_errors")?,
        error_rate: table.get("error_rate")?,
        min_requests: number(table, "min_requests")?,
        window: table.get("window")?,
        eject: table.get("eject")?,
        max_ejected: table.get("max_ejected")?,
        latency: table.get("latency"),
    })
}
