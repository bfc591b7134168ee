//! What a request's span says when the request has ended.

use std::time::Duration;

use http::Version;
use lb_observe::traces::{RequestSpan, SpanStart, Traces};

use crate::record::Record;

pub(crate) fn end(traces: &Traces, start: &SpanStart, record: &Record, took: Duration) {
    let line = record.head.as_ref();
    let text = |value: Option<&http::HeaderValue>| value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let host = text(line.and_then(|l| l.host.as_ref()));
    traces.end(
        start,
        &RequestSpan {
            took,
            method: line.map_or("", |l| l.method.as_str()),
            path: line.map_or("", |l| l.uri.path()),
            scheme: if record.connection.peer.secure { "https" } else { "http" },
            protocol: line.map_or("", |l| protocol(l.version)),
            host: &host,
            client: record.client,
            status: record.status,
            reason: record.reason.map(lb_model::http::Refusal::name),
            request_id: record.request_id.to_str().unwrap_or_default(),
            listener: record.site.listener.name.as_str(),
            route: record.road.as_ref().map(|r| r.route.name.as_str()),
            pool: record.pool.as_ref().map(|(name, _)| name.as_str()),
            backend: record.backend,
            backend_took: record.backend_took,
            retries: record.retries,
        },
    );
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        Version::HTTP_11 => "1.1",
        _ => "1.0",
    }
}
