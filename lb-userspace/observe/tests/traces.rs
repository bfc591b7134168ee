//! Spans as a collector gets them, over a real connection.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use lb_observe::traces::{RequestSpan, Traces};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

/// Head and body of one POST.
fn one_post(socket: &TcpListener) -> (String, Vec<u8>) {
    let mut stream = socket.accept().expect("a connection").0;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|t| t.split("\r\n").next()).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("a body");
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        .expect("sent");
    (head, body)
}

fn request() -> RequestSpan<'static> {
    RequestSpan {
        took: Duration::from_millis(25),
        method: "GET",
        path: "/x",
        scheme: "https",
        protocol: "2",
        host: "a.test",
        client: "192.0.2.7".parse().expect("an address"),
        status: 502,
        reason: Some("connect_failed"),
        request_id: "id-1",
        listener: "edge",
        route: Some("all"),
        pool: Some("web"),
        backend: Some("10.0.0.1:8080".parse().expect("an address")),
        backend_took: Some(Duration::from_millis(20)),
        retries: 1,
    }
}

#[test]
fn a_span_as_the_collector_gets_it() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let traces = Traces::to(&format!("http://{}/", socket.local_addr().expect("an address"))).expect("traces");
    let collector = std::thread::spawn(move || one_post(&socket));
    let mut headers = http::HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().expect("a value"));
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let start = traces.begin(&mut headers, at).expect("sampled");
    let told = headers["traceparent"].to_str().expect("text").to_owned();
    traces.end(&start, &request());
    drop(traces);
    let (head, body) = collector.join().expect("the collector");
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
    let mut message = ExportTraceServiceRequest::decode(body.as_slice()).expect("protobuf");
    let mut resource = message.resource_spans.pop().expect("spans of a resource");
    let service = resource.resource.expect("a resource").attributes.into_iter().find(|a| a.key == "service.name");
    assert_eq!(service.and_then(|a| a.value?.value), Some(Value::StringValue("lb".to_owned())));
    let span = resource.scope_spans.pop().and_then(|mut s| s.spans.pop()).expect("a span");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(told, format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!((hex(&span.parent_span_id).as_str(), span.kind()), ("00f067aa0ba902b7", SpanKind::Server));
    assert_eq!((span.name.as_str(), span.end_time_unix_nano - span.start_time_unix_nano), ("GET all", 25_000_000));
    assert_eq!(span.status.as_ref().map(|s| s.code), Some(2));
    let attribute = |key: &str| span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()?.value);
    let text = |value: &str| Some(Value::StringValue(value.to_owned()));
    assert_eq!(attribute("http.response.status_code"), Some(Value::IntValue(502)));
    assert_eq!(attribute("lb.backend"), text("10.0.0.1:8080"));
    assert_eq!(attribute("lb.backend_ms"), Some(Value::DoubleValue(20.0)));
    assert_eq!(attribute("http.route"), text("all"));
    assert_eq!(attribute("error.type"), text("connect_failed"));
}

#[test]
fn what_is_not_sampled_passes_as_it_came() {
    let traces = Traces::to("http://127.0.0.1:9").expect("traces");
    let mut headers = http::HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    headers.insert("traceparent", parent.parse().expect("a value"));
    assert!(traces.begin(&mut headers, SystemTime::UNIX_EPOCH).is_none());
    assert_eq!(headers["traceparent"], parent);
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    let traces = Traces::to(&format!("http://{address}")).expect("traces");
    let begun = std::time::Duration::from_secs(5);
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..10_000 {
            let start = traces.begin(&mut http::HeaderMap::new(), SystemTime::UNIX_EPOCH).expect("sampled");
            traces.end(&start, &request());
        }
        drop(traces);
        done.send(()).expect("heard");
    });
    assert!(wait.recv_timeout(begun).is_ok(), "spans are lost, not requests");
}
