//! Spans of requests, sent to an OpenTelemetry collector (OTLP over HTTP, protobuf) by a thread of their own.

mod context;
mod post;
mod sampler;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor as _};

pub use self::context::SpanStart;
use self::post::Poster;
use self::sampler::Sampler;

/// How long the last spans may take when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Where spans go. Ending one is a send into a bounded channel: when the collector is slow, spans are lost, not requests.
#[derive(Debug)]
pub struct Traces {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    sampler: Sampler,
}

/// What is known of a request at its end.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpan<'a> {
    pub took: Duration,
    pub method: &'a str,
    /// Without query.
    pub path: &'a str,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// `1.1`, `2`, `3`.
    pub protocol: &'static str,
    pub host: &'a str,
    pub client: IpAddr,
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    pub request_id: &'a str,
    pub listener: &'a str,
    pub route: Option<&'a str>,
    pub pool: Option<&'a str>,
    pub backend: Option<SocketAddr>,
    /// Until the backend's head.
    pub backend_took: Option<Duration>,
    pub retries: u32,
}

impl Traces {
    /// As `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) and the other variables of the OpenTelemetry specification
    /// say: headers, time-out, service name, resource attributes, sampler. `None`: neither is set, or
    /// `OTEL_TRACES_EXPORTER` is `none`.
    ///
    /// # Errors
    /// In words: a variable that cannot be understood.
    pub fn from_env() -> Result<Option<Self>, String> {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if !endpoint.iter().any(|name| set(name).is_some()) || set("OTEL_TRACES_EXPORTER").as_deref() == Some("none") {
            return Ok(None);
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if let Some(other) = set(name).filter(|v| v != "http/protobuf") {
                return Err(format!("{name}={other}: only http/protobuf is spoken"));
            }
        }
        let sampler = Sampler::read(set("OTEL_TRACES_SAMPLER").as_deref(), set("OTEL_TRACES_SAMPLER_ARG").as_deref())?;
        Self::build(None, set("OTEL_SERVICE_NAME").is_none(), sampler).map(Some)
    }

    /// To this collector, every request: `http://collector.example:4318`.
    ///
    /// # Errors
    /// In words.
    pub fn to(endpoint: &str) -> Result<Self, String> {
        Self::build(Some(&format!("{}/v1/traces", endpoint.trim_end_matches('/'))), true, Sampler::ALWAYS)
    }

    fn build(endpoint: Option<&str>, nameless: bool, sampler: Sampler) -> Result<Self, String> {
        let mut builder = SpanExporter::builder().with_http().with_http_client(Poster::new()?);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let exporter = builder.build().map_err(|e| format!("traces: {e}"))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        let mut resource = Resource::builder();
        if nameless {
            resource = resource.with_service_name("lb");
        }
        processor.set_resource(&resource.build());
        let scope = InstrumentationScope::builder("lb").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor, scope, sampler })
    }

    /// Begins a request's span: reads the client's `traceparent` (W3C Trace Context) and writes the one that the backend
    /// gets. `None`: not sampled; the fields stay as they came.
    #[must_use]
    pub fn begin(&self, headers: &mut http::HeaderMap, now: SystemTime) -> Option<SpanStart> {
        let start = SpanStart::read(headers, now);
        if !self.sampler.takes(start.parent_sampled(), start.trace) {
            return None;
        }
        start.write(headers);
        Some(start)
    }

    pub fn end(&self, start: &SpanStart, request: &RequestSpan<'_>) {
        let state = start.state.as_deref().and_then(|s| s.parse().ok()).unwrap_or(TraceState::NONE);
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(start.trace, start.span, TraceFlags::SAMPLED, false, state),
            parent_span_id: start.parent,
            parent_span_is_remote: start.parent_sampled().is_some(),
            span_kind: SpanKind::Server,
            name: match request.route {
                Some(route) => Cow::Owned(format!("{} {route}", request.method)),
                None => Cow::Owned(request.method.to_owned()),
            },
            start_time: start.at,
            end_time: start.at + request.took,
            attributes: attributes(request),
            dropped_attributes_count: 0,
            events: opentelemetry_sdk::trace::SpanEvents::default(),
            links: opentelemetry_sdk::trace::SpanLinks::default(),
            status: if request.status >= 500 { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what is left.
    pub fn flush(&self) {
        // Who cannot be told of spans cannot be told of this either.
        let _ = self.processor.force_flush();
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let _ = self.processor.shutdown_with_timeout(LAST);
    }
}

/// Named as in OpenTelemetry's semantic conventions for HTTP servers, ours with `lb.`.
fn attributes(request: &RequestSpan<'_>) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("http.request.method", request.method.to_owned()),
        KeyValue::new("url.scheme", request.scheme),
        KeyValue::new("url.path", request.path.to_owned()),
        KeyValue::new("server.address", request.host.to_owned()),
        KeyValue::new("client.address", request.client.to_string()),
        KeyValue::new("network.protocol.version", request.protocol),
        KeyValue::new("http.response.status_code", i64::from(request.status)),
        KeyValue::new("lb.request_id", request.request_id.to_owned()),
        KeyValue::new("lb.listener", request.listener.to_owned()),
    ];
    let mut add = |name: &'static str, value: Option<opentelemetry::Value>| {
        all.extend(value.map(|v| KeyValue::new(name, v)));
    };
    let text = |value: Option<&str>| value.map(|v| v.to_owned().into());
    add("http.route", text(request.route));
    add("lb.route", text(request.route));
    add("lb.pool", text(request.pool));
    add("lb.backend", request.backend.map(|b| b.to_string().into()));
    add("lb.backend_ms", request.backend_took.map(|t| (t.as_secs_f64() * 1_000.0).into()));
    add("lb.retries", (request.retries > 0).then(|| i64::from(request.retries).into()));
    let failed = request.status >= 500;
    add("error.type", request.reason.map(Into::into).or_else(|| failed.then(|| request.status.to_string().into())));
    all
}
