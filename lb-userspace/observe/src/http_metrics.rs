//! Layer 7's metrics. Labels are names from the configuration, statuses and reasons: nothing that a client sends.

use crate::text::{Family, Kind, Page};

/// Requests that ended, by all that `lb_http_requests_total` tells apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestSample {
    pub listener: String,
    /// Empty: no route.
    pub route: String,
    pub pool: String,
    pub status: u16,
    pub count: u64,
}

/// A route's durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurationSample {
    pub route: String,
    /// One count for each of the bounds and one beyond; not cumulative.
    pub counts: Vec<u64>,
    pub sum_seconds: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerSample {
    pub pool: String,
    pub backend: String,
    pub status: u16,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerSample {
    pub listener: String,
    pub connections: u64,
    pub connections_total: u64,
    pub tls_failures: u64,
    pub proxy_refused: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSample {
    pub hits: u64,
    pub misses: u64,
    pub stored: u64,
    pub evicted: u64,
    pub entries: u64,
    pub bytes: u64,
}

/// Everything the metrics say of layer 7, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpSnapshot {
    pub requests: Vec<RequestSample>,
    /// Upper bounds of the durations' buckets, in microseconds, rising.
    pub bounds: Vec<u64>,
    pub durations: Vec<DurationSample>,
    pub answers: Vec<AnswerSample>,
    pub listeners: Vec<ListenerSample>,
    /// By reason.
    pub refused: Vec<(&'static str, u64)>,
    pub cache: CacheSample,
    pub access_lines_dropped: u64,
}

macro_rules! families {
    ($($name:ident = $kind:ident $text:literal, $help:literal;)+) => {
        $(const $name: Family = Family { name: $text, help: $help, kind: Kind::$kind };)+
        /// Every family of layer 7, for documentation and tests.
        pub const FAMILIES: &[Family] = &[$($name),+];
    };
}

families! {
    REQUESTS = Counter "lb_http_requests_total", "Requests answered; an empty route or pool: none had to do with it.";
    SECONDS = Histogram "lb_http_request_seconds", "Seconds from a request's head to the end of its answer.";
    ANSWERS = Counter "lb_backend_requests_total", "Answers of backends, by status.";
    CONNECTIONS = Gauge "lb_http_connections", "Connections of clients open now.";
    CONNECTIONS_TOTAL = Counter "lb_http_connections_total", "Connections of clients accepted.";
    TLS_FAILURES = Counter "lb_http_tls_failures_total", "Handshakes with clients that failed.";
    PROXY_REFUSED = Counter "lb_http_proxy_refused_total", "Connections closed for a missing, broken or untrusted PROXY header.";
    REFUSED = Counter "lb_http_refused_total", "Requests refused, by reason.";
    CACHE_HITS = Counter "lb_cache_hits_total", "Requests answered from the cache.";
    CACHE_MISSES = Counter "lb_cache_misses_total", "Requests that the cache could not answer.";
    CACHE_STORED = Counter "lb_cache_stored_total", "Responses stored.";
    CACHE_EVICTED = Counter "lb_cache_evicted_total", "Stored responses that had to make room.";
    CACHE_ENTRIES = Gauge "lb_cache_entries", "Responses stored now.";
    CACHE_BYTES = Gauge "lb_cache_bytes", "Bytes of responses stored now.";
    LINES_DROPPED = Counter "lb_access_lines_dropped_total", "Access lines that could not be written in time.";
}

/// A family and where a listener's value is read from.
type Read = (&'static Family, fn(&ListenerSample) -> u64);

impl HttpSnapshot {
    pub(crate) fn render(&self, page: &mut Page) {
        let status = |n: u16| n.to_string();
        let statuses: Vec<String> = self.requests.iter().map(|r| status(r.status)).collect();
        let samples = self.requests.iter().zip(&statuses).map(|(r, status)| {
            ([r.listener.as_str(), r.route.as_str(), r.pool.as_str(), status.as_str()], i128::from(r.count))
        });
        page.family(&REQUESTS, ["listener", "route", "pool", "status"], samples);
        let durations = self.durations.iter().map(|d| (d.route.as_str(), d.counts.as_slice(), d.sum_seconds));
        page.histogram(&SECONDS, "route", &self.bounds, durations);
        let statuses: Vec<String> = self.answers.iter().map(|r| status(r.status)).collect();
        let samples = self
            .answers
            .iter()
            .zip(&statuses)
            .map(|(a, status)| ([a.pool.as_str(), a.backend.as_str(), status.as_str()], i128::from(a.count)));
        page.family(&ANSWERS, ["pool", "backend", "status"], samples);
        let of_listener: [Read; 4] = [
            (&CONNECTIONS, |l| l.connections),
            (&CONNECTIONS_TOTAL, |l| l.connections_total),
            (&TLS_FAILURES, |l| l.tls_failures),
            (&PROXY_REFUSED, |l| l.proxy_refused),
        ];
        for (family, read) in of_listener {
            page.family(family, ["listener"], self.listeners.iter().map(|l| ([l.listener.as_str()], read(l).into())));
        }
        page.family(&REFUSED, ["reason"], self.refused.iter().map(|(reason, n)| ([*reason], i128::from(*n))));
        let c = &self.cache;
        for (family, value) in [
            (&CACHE_HITS, c.hits),
            (&CACHE_MISSES, c.misses),
            (&CACHE_STORED, c.stored),
            (&CACHE_EVICTED, c.evicted),
            (&CACHE_ENTRIES, c.entries),
            (&CACHE_BYTES, c.bytes),
            (&LINES_DROPPED, self.access_lines_dropped),
        ] {
            page.family(family, [], [([], i128::from(value))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_durations() {
        let snapshot = HttpSnapshot {
            requests: vec![RequestSample {
                listener: "edge".into(),
                route: "all".into(),
                pool: "web".into(),
                status: 200,
                count: 7,
            }],
            bounds: vec![500, 1_000_000],
            durations: vec![DurationSample { route: "all".into(), counts: vec![4, 2, 1], sum_seconds: 3.25 }],
            answers: vec![AnswerSample { pool: "web".into(), backend: "10.0.0.1:80".into(), status: 502, count: 1 }],
            listeners: vec![ListenerSample { listener: "edge".into(), connections: 3, ..ListenerSample::default() }],
            refused: vec![("no_route", 2)],
            ..HttpSnapshot::default()
        };
        let mut page = Page::default();
        snapshot.render(&mut page);
        let page = page.finish();
        for line in [
            "lb_http_requests_total{listener=\"edge\",route=\"all\",pool=\"web\",status=\"200\"} 7",
            "# TYPE lb_http_request_seconds histogram",
            "lb_http_request_seconds_bucket{route=\"all\",le=\"0.0005\"} 4",
            "lb_http_request_seconds_bucket{route=\"all\",le=\"1\"} 6",
            "lb_http_request_seconds_bucket{route=\"all\",le=\"+Inf\"} 7",
            "lb_http_request_seconds_sum{route=\"all\"} 3.25",
            "lb_http_request_seconds_count{route=\"all\"} 7",
            "lb_backend_requests_total{pool=\"web\",backend=\"10.0.0.1:80\",status=\"502\"} 1",
            "lb_http_connections{listener=\"edge\"} 3",
            "lb_http_refused_total{reason=\"no_route\"} 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        for f in FAMILIES {
            assert_eq!(page.matches(&format!("# TYPE {} ", f.name)).count(), 1, "{}", f.name);
            assert_eq!(f.name.ends_with("_total"), f.kind == Kind::Counter, "{}", f.name);
        }
    }
}
