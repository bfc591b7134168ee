//! Spans as a collector gets them from a gateway that is told of it by its environment.

mod stand;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use stand::{Backend, Stand};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Set for the process that is the gateway's side: traces are turned on by the environment, which a process has one of.
const SIDE: &str = "LB_TEST_TRACES_GATEWAY";

fn gateway_side() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let answer = stand
        .client()
        .ask(format!("GET /x HTTP/1.1\r\nHost: a.test\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = backend.last();
    assert!(told.contains(&format!("traceparent: 00-{TRACE}-")) && !told.contains("00f067aa0ba902b7"), "{told}");
    stand.gateway.stop(Duration::from_secs(1));
}

#[test]
fn a_collector_hears_of_a_request() {
    if std::env::var_os(SIDE).is_some() {
        return gateway_side();
    }
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", socket.local_addr().expect("an address"));
    let collector = std::thread::spawn(move || {
        let mut stream = socket.accept().expect("a connection").0;
        stream.set_read_timeout(Some(stand::PATIENCE)).expect("an option");
        let message = stand::take_message(&mut stream, &mut Vec::new()).expect("a message");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("sent");
        let _rest = stream.read(&mut [0; 1]);
        message
    });
    let run = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_collector_hears_of_a_request"])
        .env(SIDE, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .output()
        .expect("run");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    let message = collector.join().expect("the collector");
    assert!(message.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
    let trace: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&TRACE[2 * i..2 * i + 2], 16).expect("hex")).collect();
    for part in [trace.as_slice(), b"GET all", b"lb.backend", b"http.response.status_code", b"service.name"] {
        assert!(message.windows(part.len()).any(|w| w == part), "{}", String::from_utf8_lossy(part));
    }
}
