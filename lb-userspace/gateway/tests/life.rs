//! Reloads, removals, the end, and connections that begin with a PROXY header.

mod stand;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lb_model::http::Listener;
use stand::{Backend, Client, Stand, eventually, free, listener, name, pool, response, route};

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn reloads_under_load_lose_nothing() {
    let (one, two) =
        (Backend::start(|_| response("200 OK", "", b"one")), Backend::start(|_| response("200 OK", "", b"two")));
    let mut stand = Stand::new(one.address);
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (over, asked, address) = (Arc::clone(&over), Arc::clone(&asked), stand.address);
            std::thread::spawn(move || {
                let mut client = Client::to(address);
                while !over.load(Ordering::Relaxed) {
                    let answer = client.ask(ASK);
                    assert!(answer.starts_with("HTTP/1.1 200 "), "client {n}: {answer:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..20 {
        let before = asked.load(Ordering::Relaxed);
        eventually("requests go on", || asked.load(Ordering::Relaxed) > before + 20);
        let now = if round % 2 == 0 { two.address } else { one.address };
        stand.change(|plan| {
            plan.pools.insert(name("web"), Arc::new(pool("web", &[now])));
            route(plan).timeouts.request = Duration::from_secs(20 + round);
            listener(plan).limits.fields = 90 + u32::try_from(round).expect("small");
        });
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no answer was missing");
    }
    let all = asked.load(Ordering::Relaxed);
    eventually("counts live over reloads", || stand.gateway.counters().routes["all"].requests == all);
    let counters = stand.gateway.counters();
    assert_eq!(counters.routes["all"].errors, 0);
    assert_eq!(counters.listeners["edge"].connections_total, 4, "connections live over reloads");
}

#[test]
fn listeners_come_and_go() {
    let backend = Backend::echo();
    let mut stand = Stand::new(backend.address);
    let second = free();
    stand.change(|plan| {
        plan.listeners.insert(name("second"), Arc::new(Listener::new(name("second"), second)));
    });
    let mut on_second = Client::to(second);
    assert!(on_second.ask(ASK).starts_with("HTTP/1.1 200 "));
    stand.change(|plan| {
        plan.listeners.remove("second");
    });
    // Another test may be given the port meanwhile, so it is looked at for a while.
    eventually("nobody listens there any more", || std::net::TcpStream::connect(second).is_err());
    let answer = on_second.ask(ASK);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert!(on_second.is_closed());
    assert!(stand.client().ask(ASK).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_plan_that_cannot_be_is_refused_whole() {
    let backend = Backend::echo();
    let mut stand = Stand::new(backend.address);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut plan = stand.plan.clone();
    let other = free();
    plan.listeners.insert(name("fine"), Arc::new(Listener::new(name("fine"), other)));
    let address = taken.local_addr().expect("an address");
    plan.listeners.insert(name("taken"), Arc::new(Listener::new(name("taken"), address)));
    plan.routes.clear();
    let fault = stand.gateway.apply(plan.clone()).expect_err("the port is taken").to_string();
    assert!(fault.contains("'taken'") && fault.contains(&address.to_string()), "{fault}");
    assert!(std::net::TcpStream::connect(other).is_err(), "the listener that could be is not listened on");
    assert!(stand.client().ask(ASK).starts_with("HTTP/1.1 200 "), "the old routes are in force");
    plan.listeners.remove("taken");
    plan.listeners.remove("fine");
    let mut bad = lb_model::http::Route::new(name("files"), lb_model::http::Target::Files { root: "/no/such".into() });
    bad.errors.insert(503, "/no/such/page.html".into());
    plan.routes.push(Arc::new(bad));
    assert!(
        stand.gateway.check(&plan).expect_err("files are missing").iter().any(|e| e.to_string().contains("/no/such"))
    );
    assert!(stand.client().ask(ASK).starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_end_waits_for_what_is_in_flight() {
    let backend = Backend::start(|_| {
        std::thread::park_timeout(Duration::from_millis(500));
        response("200 OK", "", b"late")
    });
    let stand = Stand::new(backend.address);
    let (mut busy, mut idle) = (stand.client(), stand.client());
    busy.send(ASK);
    eventually("the request is in flight", || {
        stand.gateway.in_flight() > 0 && backend.connections.load(Ordering::Relaxed) > 0
    });
    let Stand { gateway, address, .. } = stand;
    let ending = std::thread::spawn(move || gateway.stop(Duration::from_secs(8)));
    let answer = busy.read();
    assert!(answer.ends_with("late") && answer.contains("connection: close"), "{answer}");
    assert!(busy.is_closed() && idle.is_closed());
    assert_eq!(ending.join().expect("no panic"), 0, "nothing was cut off");
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let backend = Backend::start(|_| {
        std::thread::park_timeout(Duration::from_secs(30));
        Vec::new()
    });
    let stand = Stand::new(backend.address);
    let mut busy = stand.client();
    busy.send(ASK);
    eventually("the request is in flight", || backend.connections.load(Ordering::Relaxed) > 0);
    assert_eq!(stand.gateway.stop(Duration::from_millis(300)), 1, "one request was cut off");
    assert!(busy.is_closed());
}

#[test]
fn proxy_headers() {
    let backend = Backend::echo();
    let mut stand = Stand::with(backend.address, |plan| {
        let listener = listener(plan);
        listener.proxy_protocol = true;
        listener.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a range")];
    });
    let seen = |answer: &str| answer.to_ascii_lowercase().contains("x-forwarded-for: 192.0.2.7\r\n");
    let answer = stand.client().ask(format!("PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n{ASK}"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && seen(&answer), "{answer}");
    let mut slow = stand.client();
    slow.send("PROXY TCP4 192.0.2.7 192.");
    std::thread::park_timeout(Duration::from_millis(50));
    let answer = slow.ask(format!("0.2.8 5 6\r\n{ASK}"));
    assert!(seen(&answer), "{answer}");
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\0\x05\0\x06".to_vec();
    binary.extend_from_slice(ASK.as_bytes());
    let answer = stand.client().ask(binary);
    assert!(seen(&answer), "{answer}");
    let answer = stand.client().ask(format!("PROXY UNKNOWN\r\n{ASK}"));
    assert!(answer.to_ascii_lowercase().contains("x-forwarded-for: 127.0.0.1\r\n"), "{answer}");
    assert_eq!(stand.client().ask(ASK), "", "without a header: closed unanswered");
    assert_eq!(stand.client().ask(format!("PROXY TCP9 x\r\n{ASK}")), "");
    stand.change(|plan| listener(plan).trusted_proxies = vec!["192.0.2.0/24".parse().expect("a range")]);
    assert_eq!(stand.client().ask(format!("PROXY UNKNOWN\r\n{ASK}")), "", "from a stranger");
    eventually("counted", || stand.gateway.counters().listeners["edge"].proxy_refused == 3);
}

#[test]
fn sockets_are_handed_over() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let inherited = stand.gateway.sockets().expect("sockets");
    assert_eq!(inherited.len(), 2);
    let host = lb_model::Host { access_log: lb_model::AccessLog::Off, ..lb_model::Host::default() };
    let state_dir = stand.folder().join("state");
    let options = lb_gateway::GatewayOptions { host, state_dir, workers: 1, inherited };
    let mut new = lb_gateway::Gateway::start(options).expect("a gateway");
    new.apply(stand.plan.clone()).expect("a plan");
    let mut kept = stand.client();
    assert!(kept.ask(ASK).starts_with("HTTP/1.1 200 "));
    let Stand { gateway, address, .. } = stand;
    let ending = std::thread::spawn(move || gateway.stop(Duration::from_secs(5)));
    for _ in 0..50 {
        assert!(Client::to(address).ask(ASK).starts_with("HTTP/1.1 200 "));
    }
    drop(kept);
    assert_eq!(ending.join().expect("no panic"), 0);
    for _ in 0..20 {
        assert!(Client::to(address).ask(ASK).starts_with("HTTP/1.1 200 "));
    }
    assert!(new.counters().listeners["edge"].requests_total >= 20);
}

#[test]
fn taps_show_requests_without_secrets() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let options = lb_gateway::TapOptions {
        route: Some("all".to_owned()),
        headers: vec!["Authorization".to_owned(), "User-Agent".to_owned()],
    };
    let mut tap = stand.gateway.tap(options);
    stand.client().ask("GET /seen HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nUser-Agent: me\r\n\r\n");
    let event = tap.events.blocking_recv().expect("an event");
    let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
    assert_eq!(event["path"], "/seen");
    assert_eq!(event["headers"], serde_json::json!({ "authorization": "[redacted]", "user-agent": "me" }));
}
