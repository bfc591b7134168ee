//! HTTP/1 through the gateway, byte by byte.

mod stand;

use std::time::Duration;

use lb_model::http::{Target, Template};
use stand::{Backend, Stand, eventually, listener, response, route};

#[test]
fn a_request_is_forwarded_and_the_connection_kept() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    for n in 0..3 {
        let answer = client.ask(format!("GET /a/{n}?q=1 HTTP/1.1\r\nHost: h.test\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-from: backend\r\n") && answer.contains("\r\nx-request-id: "), "{answer}");
        assert!(answer.contains(&format!("GET /a/{n}?q=1 HTTP/1.1\r\n")), "{answer}");
    }
    let seen = backend.last().to_ascii_lowercase();
    assert!(seen.contains("\r\nhost: h.test\r\n") && seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn bodies_of_both_framings_arrive() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    let answer = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    client.ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let seen = backend.last();
    assert!(seen.contains("abc") && seen.contains("de"), "{seen}");
    let answer = client.ask("GET /after HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("GET /after"), "{answer}");
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for n in 1..=3 {
        let answer = client.read();
        assert!(answer.contains(&format!("GET /{n} ")), "{answer}");
    }
    assert!(client.is_closed());
}

#[test]
fn what_is_no_request_is_refused_in_a_document_and_the_connection_ends() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    for (text, status, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", "400", "bad_request"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400", "bad_request"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400", "bad_request"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "400", "bad_request"),
        ("GET / HTTP/1.1\nHost: h\n\n", "400", "bad_request"),
        ("GET /\r\n\r\n", "400", "bad_request"),
        ("GET /%2e%2e%5cx HTTP/1.1\r\nHost: h\r\n\r\n", "400", "bad_request"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400", "bad_request"),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "405", "method_not_allowed"),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405", "method_not_allowed"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", "413", "body_too_large"),
    ] {
        let mut client = stand.client();
        let answer = client.ask(text);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {answer}");
        assert!(answer.contains(&format!("\"reason\":\"{reason}\"")), "{text:?}: {answer}");
        assert!(answer.contains("\r\nx-request-id: ") && answer.contains("application/problem+json"), "{answer}");
        if !text.contains("%5c") {
            assert!(answer.contains("\r\nconnection: close\r\n"), "{text:?}: {answer}");
            assert!(client.is_closed(), "{text:?}");
        }
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn sizes() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(9000));
    assert!(stand.client().ask(long).starts_with("HTTP/1.1 414 "));
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(40_000));
    assert!(stand.client().ask(large).starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(120));
    assert!(stand.client().ask(many).starts_with("HTTP/1.1 431 "));
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n".to_owned();
    let mut stand = stand;
    stand.change(|plan| route(plan).max_body = Some(1000));
    let answer = stand.client().ask(format!("{chunked}{}", "a".repeat(65_536)));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn slow_clients() {
    let backend = Backend::echo();
    let stand = Stand::with(backend.address, |plan| {
        let timeouts = &mut listener(plan).timeouts;
        timeouts.header = Duration::from_millis(300);
        timeouts.body = Duration::from_millis(300);
        timeouts.idle = Duration::from_millis(600);
    });
    let mut slow_head = stand.client();
    slow_head.send("GET / HTTP/1.1\r\nHo");
    assert!(slow_head.read().starts_with("HTTP/1.1 408 "));
    let mut slow_body = stand.client();
    slow_body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    let answer = slow_body.read();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    let mut silent = stand.client();
    assert!(silent.is_closed(), "without a word");
    let mut idle = stand.client();
    assert!(idle.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(idle.is_closed(), "without a word");
}

#[test]
fn answers_without_a_backend() {
    let backend = Backend::echo();
    let mut stand = Stand::with(backend.address, |plan| {
        route(plan).target = Target::Respond {
            status: http::StatusCode::OK,
            body: Template::parse("{host} {path}").expect("a template"),
            headers: Vec::new(),
        };
    });
    let answer = stand.client().ask("GET /x HTTP/1.1\r\nHost: H.test:80\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nh.test /x"), "{answer}");
    stand.client().send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    stand.change(|plan| {
        let to = Template::parse("https://{host}/new").expect("a template");
        route(plan).target = Target::Redirect { to, status: http::StatusCode::PERMANENT_REDIRECT };
    });
    let answer = stand.client().ask("GET /x HTTP/1.1\r\nHost: h.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains("\r\nlocation: https://h.test/new\r\n"), "{answer}");
    stand.change(|plan| plan.routes.clear());
    let answer = stand.client().ask("GET /x HTTP/1.1\r\nHost: h.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("no_route"), "{answer}");
}

#[test]
fn head_and_bodiless_answers_keep_the_connection_in_step() {
    let backend = Backend::start(|request| {
        if request.starts_with(b"HEAD") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".to_vec()
        } else if request.starts_with(b"GET /204") {
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        } else if request.starts_with(b"GET /close") {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()
        } else {
            response("200 OK", "", b"after")
        }
    });
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /204 HTTP/1.1\r\nHost: h\r\n\r\nGET /close HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let all = client.rest();
    let heads: Vec<&str> = all.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(heads.len(), 4, "{all}");
    assert!(
        heads[0].starts_with("200") && heads[0].contains("content-length: 7\r\n") && heads[0].ends_with("\r\n\r\n")
    );
    assert!(heads[1].starts_with("204") && !heads[1].contains("content-length") && heads[1].ends_with("\r\n\r\n"));
    assert!(
        heads[2].ends_with("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            || heads[2].contains("\r\n3\r\nabc\r\n0\r\n\r\n"),
        "{all}"
    );
    assert!(heads[3].ends_with("after"));
}

#[test]
fn the_log_and_the_counts_tell_of_it() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    client.ask("POST /p/a?secret=1 HTTP/1.1\r\nHost: h.test\r\nContent-Length: 3\r\n\r\nabc");
    client.ask("GET /\u{1} HTTP/1.1\r\n\r\n");
    let text = || std::fs::read_to_string(&stand.log).unwrap_or_default();
    eventually("two lines", || text().lines().count() == 2);
    let lines: Vec<serde_json::Value> = text().lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let line = &lines[0];
    for (key, value) in [
        ("listener", "edge"),
        ("route", "all"),
        ("pool", "web"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "h.test"),
        ("path", "/p/a"),
        ("protocol", "HTTP/1.1"),
        ("backend", &backend.address.to_string()),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(
        (&line["status"], &line["bytes_in"], &line["reason"]),
        (&200.into(), &3.into(), &serde_json::Value::Null)
    );
    let keys = "time, request_id, listener, route, consumer, version, client, method, host, path, status, reason, backend, \
                pool, bytes_in, bytes_out, duration_ms, backend_ms, retries, cache, tls, protocol";
    let keys: Vec<&str> = keys.split(", ").collect();
    assert!(keys.iter().all(|k| line.get(k).is_some()) && line.as_object().expect("an object").len() == keys.len());
    assert_eq!((&lines[1]["status"], &lines[1]["reason"]), (&400.into(), &"bad_request".into()));
    let counters = stand.gateway.counters();
    assert_eq!(counters.routes["all"].requests, 1);
    assert_eq!(counters.refused["bad_request"], 1);
    assert_eq!(counters.listeners["edge"].requests_total, 2);
}

#[test]
fn a_client_that_goes_takes_its_request_along() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (started, begun) = std::sync::mpsc::channel();
    let told = std::sync::Arc::clone(&gone);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut input = Vec::new();
        stand::take_message(&mut stream, &mut input).expect("a request");
        started.send(()).expect("heard");
        let _end = std::io::Read::read(&mut stream, &mut [0; 1]);
        told.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let stand = Stand::new(address);
    let mut client = stand.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    begun.recv_timeout(stand::PATIENCE).expect("the request arrived");
    drop(client);
    eventually("the backend's connection is closed", || gone.load(std::sync::atomic::Ordering::Relaxed));
    let text = || std::fs::read_to_string(&stand.log).unwrap_or_default();
    eventually("a line", || text().contains("\"status\":499") && text().contains("client_closed"));
}

#[test]
fn an_answer_before_the_body_is_read_leaves_no_gap_in_it() {
    let backend = Backend::start(|_| response("200 OK", "", b"early"));
    let early = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = early.local_addr().expect("an address");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = early.accept().expect("a connection");
        let mut input = vec![0; 4096];
        let n = stream.read(&mut input).expect("a head");
        input.truncate(n);
        stream.write_all(&response("200 OK", "", b"early")).expect("sent");
        std::thread::park_timeout(Duration::from_millis(300));
        let _reset = stream.read_to_end(&mut input);
        tell.send(String::from_utf8_lossy(&input).into_owned()).expect("heard");
    });
    let mut stand = Stand::new(address);
    let mut client = stand.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    let answer = client.read();
    assert!(answer.ends_with("early"), "{answer}");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    let seen = told.recv_timeout(stand::PATIENCE).expect("the backend is done");
    assert!(!seen.ends_with("0\r\n\r\n") || (seen.contains("first") && seen.contains("second")), "a gap: {seen}");
    stand.change(|plan| {
        plan.pools.insert(stand::name("web"), std::sync::Arc::new(stand::pool("web", &[backend.address])));
    });
    assert!(stand.client().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("early"));
}

#[test]
fn early_hints_are_passed_on() {
    let backend = Backend::start(|_| {
        let mut all = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x\r\nx: 1\r\n\r\n".to_vec();
        all.extend_from_slice(&response("200 OK", "", b"done"));
        all
    });
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let all = client.rest();
    let (hint, answer) = all.split_once("\r\n\r\n").expect("two heads");
    assert_eq!(hint, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("done"), "{answer}");
    let mut old = stand.client();
    old.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert!(old.rest().starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 knows no interim answers");
}

#[test]
fn the_body_is_asked_for_when_somebody_wants_it() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let mut client = stand.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read(), "HTTP/1.1 100 Continue\r\n\r\n");
    let answer = client.ask("hello");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    let mut large = stand.client();
    large.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    let answer = large.read();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn what_a_backend_cut_short_is_seen_to_be() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stand::take_message(&mut stream, &mut Vec::new()).expect("a request");
            let text = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort";
            std::io::Write::write_all(&mut stream, text).expect("sent");
        }
    });
    let stand = Stand::new(address);
    let mut client = stand.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("short"), "{all}");
    let text = || std::fs::read_to_string(&stand.log).unwrap_or_default();
    eventually("a line", || text().contains("\"reason\":\"backend_closed\""));
}
