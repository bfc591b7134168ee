//! The daemon seen from outside, on the userspace engine over loopback: starting, being asked, being changed, ending.

use nix::sys::signal::Signal;

use crate::support::{Backend, Daemon, Place, free_port, greet, text, until};

/// A file with one service over two backends.
fn config(place: &Place, listen: std::net::SocketAddr, backends: &[&Backend]) -> String {
    let backends: Vec<_> = backends.iter().map(|b| format!("{{ address = \"{}\" }}", b.address)).collect();
    format!(
        "[host]\ndata_plane = \"userspace\"\nstate_dir = \"{}\"\nsocket = \"{}\"\n\
         [[pool]]\nname = \"web\"\nalgorithm = \"round-robin\"\nbackends = [{}]\n\
         [[service]]\nname = \"front\"\nlisten = \"{listen}/tcp\"\npool = \"web\"\n",
        place.path().join("state").display(),
        place.socket().display(),
        backends.join(", ")
    )
}

fn backend_row(place: &Place, backend: &Backend) -> serde_json::Value {
    let list = place.json(&["backend", "list", "web"]);
    let rows = list.as_array().expect("an array");
    let address = backend.address.to_string();
    rows.iter().find(|r| r["address"] == address.as_str()).expect("the backend").clone()
}

#[test]
fn from_flags_as_an_ordinary_user() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let (listen_flag, address) = (format!("{listen}/tcp"), backend.address.to_string());
    let daemon = Daemon::start_ordinary(&place, &["--listen", &listen_flag, "--backend", &address]);
    let (_stream, greeting) = until("a connection", || greet(listen));
    assert_eq!(greeting, backend.name);

    let status = place.json(&["status"]);
    assert_eq!(status["data_plane"], "userspace");
    for key in ["version", "data_plane_reason", "interfaces", "services", "pools", "dropped", "uptime_seconds"] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    assert!(status["notes"].to_string().contains("root"), "what root would add: {status}");
    let (reload, said) = place.refusal(&["reload"]);
    assert_eq!(reload, 1, "there is no file to read again: {said}");
    let (code, last) = daemon.terminate();
    assert_eq!(code, Some(0));
    assert!(last.trim_end().lines().last().is_some_and(|l| l.contains("lb detach")), "{last:?}");
    assert!(!place.socket().exists());
}

#[test]
fn an_ordinary_user_is_told_what_root_would_add() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let flags = ["--listen", &format!("{listen}/tcp"), "--backend", &backend.address.to_string(), "--interface", "lo"];
    let daemon = Daemon::start_ordinary(&place, &flags);
    assert_eq!(place.json(&["status"])["data_plane"], "userspace");
    let log = daemon.log();
    assert!(log.contains("root") || log.contains("CAP_"), "{log}");
}

#[test]
fn a_second_one_is_refused() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&backend]));
    let file = file.to_str().expect("UTF-8");
    let daemon = Daemon::start(&place, &["--config", file]);
    let (code, said) = place.refusal(&["run", "--config", file]);
    assert_eq!(code, 1);
    assert!(said.contains(&daemon.id().to_string()) && said.contains("lb.sock"), "{said}");
    // The first is none the worse for it.
    assert!(until("a connection", || greet(listen)).1.starts_with("backend"));
    // Killed, it leaves a socket that nobody answers on: no obstacle for the next.
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    let (code, said) = place.refusal(&["status"]);
    assert!(code == 1 && said.contains(place.socket().to_str().expect("UTF-8")), "{said}");
    Daemon::start(&place, &["--config", file]);
}

#[test]
fn documents_have_the_contracts_fields() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&backend]));
    let _daemon = Daemon::start(&place, &["--config", file.to_str().expect("UTF-8")]);
    let (stream, _) = until("a connection", || greet(listen));

    let keys = |row: &serde_json::Value, wanted: &[&str]| {
        wanted.iter().for_each(|k| assert!(row.get(k).is_some(), "{k} in {row}"));
    };
    let row = until("the flow is counted", || Some(backend_row(&place, &backend)).filter(|r| r["active_flows"] == 1));
    keys(&row, &["pool", "address", "weight", "state", "health", "flows_total", "packets", "bytes"]);
    assert_eq!((&row["state"], &row["flows_total"]), (&"active".into(), &1.into()));
    let services = place.json(&["service", "list"]);
    keys(
        &services[0],
        &[
            "name",
            "listen",
            "pool",
            "forward",
            "algorithm",
            "active_flows",
            "flows_total",
            "packets",
            "bytes",
            "dropped",
        ],
    );
    let flows = place.json(&["flows", "--service", "front"]);
    assert_eq!(flows.as_array().map(Vec::len), Some(1), "{flows}");
    keys(&flows[0], &["service", "protocol", "vip", "state", "age_seconds", "idle_seconds", "packets", "bytes"]);
    assert_eq!(flows[0]["client"], stream.local_addr().expect("an address").to_string());
    assert_eq!(flows[0]["backend"], backend.address.to_string());
    let explain = place.json(&["explain", "--from", "127.0.0.1:4000", "--to", &format!("{listen}/tcp")]);
    assert_eq!((&explain["verdict"], &explain["service"]), (&"forward".into(), &"front".into()), "{explain}");
    assert_eq!(explain["backend"], backend.address.to_string());
    let nobodys = place.json(&["explain", "--from", "127.0.0.1:4000", "--to", "127.0.0.9:9/udp"]);
    assert_eq!(nobodys["verdict"], "pass");
    // For people the same, in tables.
    for args in [
        &["status"][..],
        &["top"],
        &["service", "list"],
        &["service", "show", "front"],
        &["backend", "list"],
        &["flows"],
    ] {
        let out = place.lb(args);
        let shown = text(&out.stdout);
        assert!(out.status.success() && shown.contains("front") | shown.contains("web"), "{args:?}: {shown}");
        assert!(!shown.contains('\u{1b}'), "colours only on a terminal: {shown:?}");
    }
}

#[test]
fn unknown_names_are_2_with_the_nearest() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&backend]));
    let _daemon = Daemon::start(&place, &["--config", file.to_str().expect("UTF-8")]);
    let address = backend.address.to_string();
    for (args, nearest) in [
        (&["service", "show", "fornt"][..], "front"),
        (&["backend", "list", "wbe"], "web"),
        (&["backend", "drain", "wbe", &address], "web"),
        (&["backend", "set", "web", "127.0.0.1:1", "--weight", "3"], &address),
        (&["flows", "--service", "fron"], "front"),
    ] {
        let (code, said) = place.refusal(args);
        assert!(code == 2 && said.contains(nearest), "{args:?}: {code} {said}");
    }
    for args in [
        &["backend", "set", "web", &address, "--weight", "1001"][..],
        &["backend", "add", "web", "not an address"],
        &["explain", "--from", "x", "--to", "127.0.0.1:80/tcp"],
        &["backend", "drain", "web", &address, "--timeout", "soon"],
        &["frobnicate"],
    ] {
        assert_eq!(place.refusal(args).0, 2, "{args:?}");
    }
}

#[test]
fn draining_waits_for_the_last_flow() {
    let (place, one, two, listen) = (Place::new(), Backend::start(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&one, &two]));
    let _daemon = Daemon::start(&place, &["--config", file.to_str().expect("UTF-8")]);
    // One connection to each, by turns.
    let mut held = Vec::new();
    let on_one = until("a flow to the first backend", || {
        let (stream, greeting) = greet(listen)?;
        if greeting == one.name {
            return Some(stream);
        }
        held.push(stream);
        None
    });
    let address = one.address.to_string();
    let mut wait = std::process::Command::new(crate::support::LB)
        .args(["backend", "drain", "web", &address, "--timeout", "60s", "--wait"])
        .env("LB_SOCKET", place.socket())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("lb runs");
    until("it drains", || (backend_row(&place, &one)["state"] == "draining").then_some(()));
    for _ in 0..6 {
        assert_eq!(greet(listen).expect("a connection").1, two.name, "no new flow to a draining backend");
    }
    assert!(wait.try_wait().expect("asked").is_none(), "a flow is left, so it waits");
    drop(on_one);
    let status = until("the wait ends", || wait.try_wait().expect("asked"));
    let out = wait.wait_with_output().expect("its output");
    assert!(status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("1 flow remains"), "{}", text(&out.stderr));
    assert_eq!(backend_row(&place, &one)["state"], "drained");

    assert!(place.lb(&["backend", "undrain", "web", &address]).status.success());
    until("it takes flows again", || greet(listen).filter(|(_, greeting)| *greeting == one.name));
}

#[test]
fn a_reload_with_an_error_changes_nothing() {
    let (place, one, two, listen) = (Place::new(), Backend::start(), Backend::start(), free_port());
    let good = config(&place, listen, &[&one]);
    let file = place.file("lb.toml", &good);
    let path = file.to_str().expect("UTF-8").to_owned();
    let daemon = Daemon::start(&place, &["--config", &path]);
    let bad = good.replace("round-robin", "round-robbin");
    place.file("lb.toml", &bad);
    let (code, said) = place.refusal(&["reload"]);
    assert_eq!(code, 2);
    let checked = place.refusal(&["check", "--config", &path]);
    assert_eq!(checked.0, 2);
    let place_of_it = "lb.toml:7:13";
    assert!(said.contains(place_of_it) && checked.1.contains(place_of_it), "{said}\n{}", checked.1);
    assert_eq!(place.json(&["service", "list"])[0]["algorithm"], "round-robin");

    place.file("lb.toml", &config(&place, listen, &[&one, &two]));
    let plan = place.json(&["plan", "--config", &path]);
    assert_eq!(plan["pools"][0]["added"][0], two.address.to_string(), "{plan}");
    daemon.signal(Signal::SIGHUP);
    until("the new backend is there", || (place.json(&["backend", "list"]).as_array()?.len() == 2).then_some(()));
}

#[test]
fn changes_survive_a_restart_and_are_shown() {
    let (place, one, two, listen) = (Place::new(), Backend::start(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&one]));
    let path = file.to_str().expect("UTF-8").to_owned();
    let daemon = Daemon::start(&place, &["--config", &path]);
    let (one_address, two_address) = (one.address.to_string(), two.address.to_string());
    for args in [
        &["backend", "set", "web", &one_address, "--weight", "7"][..],
        &["backend", "add", "web", &two_address, "--weight", "5"],
    ] {
        let out = place.lb(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    }
    until("a connection", || greet(listen));
    let total = |place: &Place| place.json(&["service", "list"])[0]["flows_total"].as_u64().expect("a number");
    let before = until("it is counted", || Some(total(&place)).filter(|n| *n > 0));
    assert_eq!(daemon.terminate().0, Some(0));

    let _daemon = Daemon::start(&place, &["--config", &path]);
    assert_eq!(backend_row(&place, &one)["weight"], 7);
    assert_eq!(backend_row(&place, &two)["source"], "cli");
    assert!(total(&place) >= before, "counters never fall");
    let overrides = place.json(&["status"])["overrides"].to_string();
    assert!(overrides.contains(&one_address) && overrides.contains(&two_address), "{overrides}");
    let exported = text(&place.lb(&["export"]).stdout);
    let again = place.file("exported.toml", &exported);
    assert_eq!(place.refusal(&["check", "--config", again.to_str().expect("UTF-8")]).0, 0, "{exported}");
    assert!(exported.contains("weight = 7"), "{exported}");
}

#[test]
fn detaching_ends_the_daemon() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&backend]));
    let daemon = Daemon::start(&place, &["--config", file.to_str().expect("UTF-8")]);
    let out = place.lb(&["detach"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(daemon.end().0, Some(0));
    assert_eq!(place.refusal(&["status"]).0, 1);
}

#[test]
fn a_service_manager_is_told() {
    let (place, backend, listen) = (Place::new(), Backend::start(), free_port());
    let file = place.file("lb.toml", &config(&place, listen, &[&backend]));
    let path = place.path().join("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a bound");
    let daemon = Daemon::start_with(&place, &["--config", file.to_str().expect("UTF-8")], |c| {
        c.env("NOTIFY_SOCKET", &path);
    });
    let told = || {
        let mut buffer = [0; 4096];
        let n = manager.recv(&mut buffer).expect("a message");
        text(&buffer[..n])
    };
    let ready = told();
    assert!(ready.contains("READY=1\n") && ready.contains("STATUS=data plane userspace"), "{ready}");
    daemon.signal(Signal::SIGHUP);
    let reloading = told();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(told().contains("READY=1"));
    assert_eq!(daemon.terminate().0, Some(0));
    assert!(told().contains("STOPPING=1"));
}

#[test]
fn metrics_and_curl() {
    let (place, backend, listen, metrics) = (Place::new(), Backend::start(), free_port(), free_port());
    let flags = ["--listen", &format!("{listen}/tcp"), "--backend", &backend.address.to_string()];
    let more = ["--metrics", &metrics.to_string(), "--state-dir", place.path().to_str().expect("UTF-8")];
    let _daemon = Daemon::start(&place, &[&flags[..], &more[..]].concat());
    until("a connection", || greet(listen));
    let page = until("it is counted", || {
        let page = http_get(metrics, "/metrics")?;
        page.contains("lb_service_flows_total{service=\"default\"} 1").then_some(page)
    });
    assert!(page.contains("lb_info{version="), "{page}");
    // Anything that speaks HTTP over a Unix socket may ask.
    let mut stream = std::os::unix::net::UnixStream::connect(place.socket()).expect("the socket");
    std::io::Write::write_all(&mut stream, b"GET /v1/nothing HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("\"kind\":\"unknown\""), "{answer}");
}

fn http_get(address: std::net::SocketAddr, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    std::io::Write::write_all(
        &mut stream,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .ok()?;
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
    Some(answer)
}
