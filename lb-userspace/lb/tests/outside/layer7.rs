//! Layer 7 seen from outside, on loopback: what is shown, explained, changed and ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Daemon, LB, Place, free_port, text, until};

/// A backend that answers each request with its name; `/slow` after a while.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let name = format!("web {}", address.port());
        let answer = name.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                std::thread::spawn(move || serve(&stream, &answer));
            }
        });
        Self { address, name }
    }
}

#[expect(clippy::disallowed_methods, reason = "a backend that takes its time")]
fn serve(stream: &TcpStream, answer: &str) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        while lines.next().is_some_and(|l| !l.is_empty()) {}
        if first.contains("/slow") {
            std::thread::sleep(Duration::from_millis(1500));
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        let mut out = stream;
        if out.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request over a connection of its own: the status and the body.
pub(crate) fn get(to: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

pub(crate) fn config(place: &Place, listen: SocketAddr, backends: &[&Web], more: &str) -> String {
    let backends: Vec<_> = backends.iter().map(|b| format!("{{ address = \"{}\" }}", b.address)).collect();
    format!(
        "[host]\nstate_dir = \"{}\"\nsocket = \"{}\"\npin_dir = \"{}\"\naccess_log = \"{}\"\n\
         [[listener]]\nname = \"edge\"\nlisten = \"{listen}\"\n\
         [[pool]]\nname = \"web\"\nalgorithm = \"round-robin\"\nbackends = [{}]\n\
         [[route]]\nname = \"moved\"\nmatch = {{ path = \"/old/*\" }}\nredirect = {{ to = \"/new\" }}\n{more}\
         [[route]]\nname = \"all\"\npool = \"web\"\n",
        place.path().join("state").display(),
        place.socket().display(),
        place.path().join("pins").display(),
        place.path().join("access.log").display(),
        backends.join(", ")
    )
}

fn start(place: &Place, text: &str) -> (Daemon, String) {
    let path = place.file("lb.toml", text).to_str().expect("UTF-8").to_owned();
    (Daemon::start(place, &["--config", &path]), path)
}

#[test]
fn routes_are_shown_with_their_hits_and_no_data_plane_is_needed() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let (_daemon, _) = start(&place, &config(&place, listen, &[&web], ""));
    assert_eq!(until("an answer", || get(listen, "/x")), (200, web.name.clone()));
    assert_eq!(get(listen, "/old/x").expect("an answer").0, 308);

    let routes = until("both are counted", || {
        let routes = place.json(&["route", "list"]);
        (routes[0]["requests"] == 1 && routes[1]["requests"] == 1).then_some(routes)
    });
    assert_eq!((&routes[0]["name"], &routes[0]["pool"]), (&"moved".into(), &serde_json::Value::Null), "{routes}");
    assert_eq!((&routes[0]["redirect"]["to"], &routes[0]["match"]["path"]), (&"/new".into(), &"/old/*".into()));
    assert_eq!((&routes[1]["pool"], &routes[1]["listener"][0]), (&"web".into(), &"edge".into()));
    assert_eq!((&routes[1]["policies"], &routes[1]["errors"]), (&serde_json::json!([]), &0.into()));
    assert_eq!(place.json(&["route", "show", "all"])["settings"]["timeout"]["request"], "30s");
    let (code, said) = place.refusal(&["route", "show", "al"]);
    assert!(code == 2 && said.contains("'all'"), "{said}");

    let status = place.json(&["status"]);
    assert_eq!((&status["listeners"][0]["name"], &status["data_plane"]), (&"edge".into(), &"userspace".into()));
    assert!(status["data_plane_reason"].as_str().is_some_and(|r| r.contains("no [[service]]")), "{status}");
    let row = until("the backend's request is counted", || {
        Some(place.json(&["backend", "list", "web"])[0].clone()).filter(|r| r["flows_total"] == 1)
    });
    assert_eq!((&row["packets"], &row["active_flows"]), (&0.into(), &0.into()));
    assert!(row["bytes"].as_u64().is_some_and(|n| n > 20), "{row}");
    for args in [&["status"][..], &["route", "list"], &["route", "show", "all"], &["cert", "list"], &["cache", "stats"]]
    {
        let out = place.lb(args);
        assert!(out.status.success() && !out.stdout.is_empty(), "{args:?}: {}", text(&out.stderr));
    }
    assert_eq!(place.json(&["cert", "list"]), serde_json::json!([]));
    assert_eq!(place.refusal(&["cache", "purge"]).0, 2, "without a choice");
    assert_eq!(place.json(&["cache", "purge", "--prefix", "http://a.test/"])["purged"], 0);
}

#[test]
fn a_request_is_explained_and_changes_nothing() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let (_daemon, _) = start(&place, &config(&place, listen, &[&web], ""));
    let url = format!("GET http://{listen}/x");
    let explained = place.json(&["explain", "--request", &url, "--header", "X-A: 1", "--from", "192.0.2.7"]);
    assert_eq!((&explained["verdict"], &explained["route"]), (&"forward".into(), &"all".into()), "{explained}");
    assert_eq!(explained["pool"], "web");
    assert!(explained["steps"].as_array().is_some_and(|s| !s.is_empty()));
    let one = explained["backend"].as_str() == Some(&web.address.to_string());
    let candidates = explained["candidates"].to_string().contains(&web.address.to_string());
    assert!(one || candidates, "{explained}");
    let moved = place.json(&["explain", "--request", &format!("GET http://{listen}/old/x")]);
    assert_eq!((&moved["verdict"], &moved["status"]), (&"respond".into(), &308.into()), "{moved}");
    assert_eq!(place.json(&["route", "list"])[1]["requests"], 0);
    for args in [&["explain", "--request", "GET nonsense"][..], &["explain", "--request", &url, "--listener", "egde"]] {
        assert_eq!(place.refusal(args).0, 2, "{args:?}");
    }
}

#[test]
fn a_reload_says_what_of_layer_7_changes() {
    let (place, web, other, listen) = (Place::new(), Web::start(), Web::start(), free_port());
    let (_daemon, path) = start(&place, &config(&place, listen, &[&web], ""));
    until("an answer", || get(listen, "/x"));
    let answer = "[[route]]\nname = \"pong\"\nmatch = { path = \"/ping\" }\nrespond = { body = \"pong\" }\n";
    let next = config(&place, listen, &[&web, &other], answer).replace("to = \"/new\"", "to = \"/newer\"");
    let file = place.file("next.toml", &next);
    let plan = place.json(&["plan", "--config", file.to_str().expect("UTF-8")]);
    let routes = plan["routes"].to_string();
    assert!(routes.contains("pong: added") && routes.contains("moved: changes"), "{plan}");
    assert_eq!(get(listen, "/ping").expect("an answer").1, web.name, "a plan changes nothing");

    place.file("lb.toml", &next);
    let reloaded = place.json(&["reload"]).to_string();
    assert!(reloaded.contains("pong: added") || get(listen, "/ping").is_some(), "{reloaded}");
    assert_eq!(get(listen, "/ping").expect("an answer"), (200, "pong".to_owned()), "in force on return");
    assert!(
        place.json(&["route", "list"])[2]["requests"].as_u64().is_some_and(|n| n >= 2),
        "counts live over a reload"
    );

    // A listener that cannot be had refuses the whole, and nothing has changed.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    place.file("lb.toml", &next.replace(&listen.to_string(), &address).replace("pong\" }", "gnop\" }"));
    let (code, said) = place.refusal(&["reload"]);
    assert!(code == 1 && said.contains(&address), "{code} {said}");
    assert_eq!(get(listen, "/ping").expect("an answer").1, "pong");
    drop(path);
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let (place, web) = (Place::new(), Web::start());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address");
    let file = place.file("lb.toml", &config(&place, address, &[&web], ""));
    let (code, said) = place.refusal(&["run", "--config", file.to_str().expect("UTF-8")]);
    assert!(code == 1 && said.contains(&address.to_string()), "{code} {said}");
}

#[test]
fn a_drain_waits_for_requests_in_flight() {
    let (place, one, two, listen) = (Place::new(), Web::start(), Web::start(), free_port());
    let (_daemon, _) = start(&place, &config(&place, listen, &[&one, &two], ""));
    until("an answer", || get(listen, "/x"));
    let slow: Vec<_> = (0..2).map(|_| std::thread::spawn(move || get(listen, "/slow"))).collect();
    let row = |web: &Web| {
        let list = place.json(&["backend", "list", "web"]);
        let rows = list.as_array().expect("an array").clone();
        rows.into_iter().find(|r| r["address"] == web.address.to_string()).expect("the backend")
    };
    until("a request is in flight", || (row(&one)["active_flows"] == 1).then_some(()));
    assert!(place.lb(&["backend", "drain", "web", &one.address.to_string(), "--wait"]).status.success());
    assert_eq!(row(&one)["state"], "drained");
    for s in slow {
        assert_eq!(s.join().expect("no panic").expect("an answer").0, 200, "what was in flight ended well");
    }
    for _ in 0..4 {
        assert_eq!(get(listen, "/x").expect("an answer").1, two.name);
    }
}

#[test]
fn an_end_waits_for_requests_in_flight() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let (daemon, _) = start(&place, &config(&place, listen, &[&web], ""));
    until("an answer", || get(listen, "/x"));
    let slow = std::thread::spawn(move || get(listen, "/slow"));
    until("it is in flight", || (place.json(&["backend", "list"])[0]["active_flows"] == 1).then_some(()));
    let (code, last) = daemon.terminate();
    assert_eq!(slow.join().expect("no panic").expect("an answer"), (200, web.name));
    assert!(code == Some(0) && !last.contains("cut off") && last.contains("lb detach"), "{last}");
}

#[test]
fn counters_survive_a_restart() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let (daemon, path) = start(&place, &config(&place, listen, &[&web], ""));
    until("an answer", || get(listen, "/x"));
    let total = || place.json(&["backend", "list"])[0]["flows_total"].as_u64().expect("a number");
    until("it is counted", || (total() == 1).then_some(()));
    assert_eq!(daemon.terminate().0, Some(0));
    let _daemon = Daemon::start(&place, &["--config", &path]);
    for _ in 0..5 {
        until("an answer", || get(listen, "/x"));
    }
    until("old and new are counted", || (total() == 6).then_some(()));
}

#[test]
fn metrics_of_layer_7() {
    let (place, web, listen, metrics) = (Place::new(), Web::start(), free_port(), free_port());
    let text = config(&place, listen, &[&web], "").replace("[host]\n", &format!("[host]\nmetrics = \"{metrics}\"\n"));
    let (_daemon, _) = start(&place, &text);
    until("an answer", || get(listen, "/x"));
    let line = "lb_http_requests_total{listener=\"edge\",route=\"all\",pool=\"web\",status=\"200\"} 1";
    let page = until("it is counted", || get(metrics, "/metrics").map(|(_, p)| p).filter(|p| p.contains(line)));
    for piece in [
        "lb_http_request_seconds_bucket{route=\"all\",le=\"+Inf\"} 1",
        "lb_http_request_seconds_count{route=\"all\"} 1",
        &format!("lb_backend_requests_total{{pool=\"web\",backend=\"{}\",status=\"200\"}} 1", web.address),
    ] {
        assert!(page.contains(piece), "{piece} in {page}");
    }
}

#[test]
fn a_tap_shows_requests_as_they_come() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let (_daemon, _) = start(&place, &config(&place, listen, &[&web], ""));
    until("an answer", || get(listen, "/x"));
    let mut tap = std::process::Command::new(LB)
        .args(["tap", "--route", "all", "--header", "host", "--json"])
        .env("LB_SOCKET", place.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("lb runs");
    let (send, lines) = std::sync::mpsc::channel();
    let out = tap.stdout.take().expect("a pipe");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let line = until("a request is seen", || {
        get(listen, "/seen?secret=1")?;
        lines.recv_timeout(Duration::from_millis(100)).ok()
    });
    let _ = tap.kill().and_then(|()| tap.wait());
    let event: serde_json::Value = serde_json::from_str(&line).expect("one JSON document a line");
    assert_eq!((&event["route"], &event["path"]), (&"all".into(), &"/seen".into()), "{event}");
    assert_eq!(event["headers"]["host"], "a.test", "{event}");
    let (code, said) = place.refusal(&["tap", "--route", "al"]);
    assert!(code == 2 && said.contains("'all'"), "{said}");
}

#[test]
fn from_flags_with_a_certificate_of_its_own() {
    let (place, web, plain, secure) = (Place::new(), Web::start(), free_port(), free_port());
    let state = place.path().join("state");
    let (plain_url, secure_url) = (format!("http://{plain}"), format!("https://{secure}"));
    let backend = web.address.to_string();
    let flags = ["--listen", &plain_url, "--listen", &secure_url, "--backend", &backend, "--state-dir"];
    let daemon = Daemon::start(&place, &[&flags[..], &[state.to_str().expect("UTF-8")]].concat());
    assert_eq!(until("an answer", || get(plain, "/x")), (200, web.name));
    assert!(daemon.log().contains("SELF-SIGNED"), "{}", daemon.log());
    assert!(place.json(&["status"])["notes"].to_string().contains("SELF-SIGNED"));
    use std::os::unix::fs::PermissionsExt as _;
    let key = std::fs::metadata(state.join("self-signed.key")).expect("a key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let certificates = place.json(&["cert", "list"]);
    assert!(certificates[0]["names"].to_string().contains("localhost"), "{certificates}");
    assert_eq!(certificates[0]["source"], "file");
}

#[test]
fn an_ordinary_user_s_file_needs_no_interface() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let file = place.file(
        "lb.toml",
        &format!(
            "[[listener]]\nname = \"edge\"\nlisten = \"{listen}\"\n\
             [[pool]]\nname = \"web\"\nbackends = [{{ address = \"{}\" }}]\n[[route]]\nname = \"all\"\npool = \"web\"\n",
            web.address
        ),
    );
    let daemon = Daemon::start_ordinary(&place, &["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(until("an answer", || get(listen, "/x")), (200, web.name));
    daemon.signal(Signal::SIGHUP);
    assert_eq!(daemon.terminate().0, Some(0));
}
