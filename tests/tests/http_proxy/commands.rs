//! What the command line says about layer 7, and that it is what happens: explain, route list, tap, reload, refusals.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, every, get, listener, pool, route};
use lb_tests::http::{echo, port};
use serde_json::{Value, json};

fn several() -> String {
    [
        route("users", "match = { host = \"a.test\", path = \"/users/{id}\", methods = [\"GET\"] }\npool = \"web\""),
        route("beta", "match = { path = \"/p/*\", headers = { X-Beta = \"1\" } }\npool = \"web\"\nrewrite = { strip_prefix = \"/p\" }"),
        route("plain", "match = { path = \"/p/*\" }\npool = \"web\""),
        route("moved", "match = { path = \"/old\" }\nredirect = { to = \"https://b.test/new\" }"),
        route("said", "match = { path = \"/said\" }\nrespond = { status = 418, body = \"tea\" }"),
    ]
    .concat()
}

#[test]
fn explain_says_what_then_happens() -> Result<()> {
    let scene = Scene::routes("", &several(), echo::reply)?;
    let base = format!("http://a.test:{}", scene.front.port());
    let cases = [
        ("pattern", ("GET", "/users/7", "", "forward")),
        ("method", ("POST", "/users/7", "", "404")),
        ("header", ("GET", "/p/x", "X-Beta: 1", "forward")),
        ("prefix", ("GET", "/p/x", "", "forward")),
        ("redirect", ("GET", "/old", "", "308")),
        ("respond", ("GET", "/said", "", "418")),
        ("nothing", ("GET", "/nowhere", "", "404")),
        ("unsafe", ("GET", "/p/a%2fb", "", "400")),
    ];
    every(cases, |(method, path, header, want)| {
        let request = format!("{method} {base}{path}");
        let mut args = vec!["explain", "--request", &request];
        if !header.is_empty() {
            args.extend(["--header", header]);
        }
        let said = scene.proxy.json(&args)?;
        ensure!(said["steps"].as_array().is_some_and(|s| !s.is_empty()), "{said}");
        let before = scene.proxy.access()?.len();
        let field = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let host = format!("a.test:{}", scene.front.port());
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let answer = scene.ask(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}{length}\r\n"))?;
        let line = scene.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
        ensure!(said["route"] == line["route"], "explain says route {}, the log {}", said["route"], line["route"]);
        ensure!(said["pool"] == line["pool"] || said["pool"].is_null(), "{said} and {line}");
        if want == "forward" {
            ensure!(said["verdict"] == "forward" && answer.status == 200, "{said} and {}", answer.status);
            let candidates = said["candidates"].as_array().cloned().unwrap_or_default();
            let named = said["backend"].as_str().map(str::to_owned).into_iter();
            let all: Vec<String> =
                named.chain(candidates.iter().filter_map(|c| c["backend"].as_str().map(str::to_owned))).collect();
            ensure!(all.iter().any(|b| line["backend"] == **b), "{said} and {line}");
        } else {
            ensure!(said["verdict"] == "respond" && said["status"].as_u64() == want.parse().ok(), "{said}");
            ensure!(answer.status.to_string() == want, "{}", answer.status);
            ensure!(said["reason"] == line["reason"] || line["reason"].is_null(), "{said} and {line}");
        }
        Ok(())
    })
}

#[test]
fn asking_changes_no_counter() -> Result<()> {
    let scene = Scene::routes("", &several(), echo::reply)?;
    for _ in 0..3 {
        scene.proxy.json(&["explain", "--request", &format!("GET http://a.test:{}/p/x", scene.front.port())])?;
    }
    let list = scene.proxy.json(&["route", "list"])?;
    ensure!(list.as_array().is_some_and(|l| l.iter().all(|r| r["requests"] == 0)), "{list}");
    ensure!(scene.backend.count() == 0 && scene.proxy.access()?.is_empty(), "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn routes_are_listed_in_order_with_counts_that_live_over_a_reload() -> Result<()> {
    let (backend, front) = (echo::backend()?, port::free()?);
    let broken = lb_tests::http::backend::Backend::start(|_| lb_tests::http::backend::Reply::new("500 Oops", ""))?;
    let ill = route("ill", "match = { path = \"/ill\" }\npool = \"ill\"");
    let text =
        [listener(front, ""), pool("web", &[backend.address], ""), pool("ill", &[broken.address], ""), several(), ill]
            .concat();
    let proxy = Proxy::start(&text)?;
    let mut client = Client::connect(front)?;
    for path in ["/users/1", "/users/2", "/p/x", "/ill", "/said", "/nowhere"] {
        client.ask(get(path, ""))?;
    }
    let counts = |list: &Value| -> Vec<(String, u64, u64)> {
        let all = list.as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|r| {
                (
                    r["name"].as_str().unwrap_or_default().to_owned(),
                    r["requests"].as_u64().unwrap_or(99),
                    r["errors"].as_u64().unwrap_or(99),
                )
            })
            .collect()
    };
    let list = proxy.json(&["route", "list"])?;
    let want = [("users", 2, 0), ("beta", 0, 0), ("plain", 1, 0), ("moved", 0, 0), ("said", 1, 0), ("ill", 1, 1)];
    let want: Vec<(String, u64, u64)> = want.iter().map(|(n, r, e)| ((*n).to_owned(), *r, *e)).collect();
    ensure!(counts(&list) == want, "{list}");
    ensure!(list[0]["match"] == json!({"host": "a.test", "path": "/users/{id}", "methods": ["GET"]}), "{}", list[0]);
    ensure!(
        list[0]["pool"] == "web" && list[0]["policies"] == json!([]) && list[0]["listener"] == json!(["edge"]),
        "{}",
        list[0]
    );
    ensure!(list[3]["pool"].is_null() && list[3]["redirect"].is_object() && list[4]["respond"].is_object(), "{list}");
    proxy.reload(&text.replace("\"tea\"", "\"coffee\""))?;
    ensure!(counts(&proxy.json(&["route", "list"])?) == want, "a reload lost counts");
    ensure!(client.ask(get("/said", ""))?.text() == "coffee", "the reload is not in force, or the connection is gone");
    let unknown = proxy.cli(&["route", "show", "user"])?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(unknown.status.code() == Some(2) && said.contains("users"), "{}: {said}", unknown.status);
    Ok(())
}

#[test]
fn a_refused_reload_changes_nothing() -> Result<()> {
    let scene = Scene::echo()?;
    let mut client = scene.client()?;
    ensure!(client.ask(get("/", ""))?.status == 200, "not served");
    scene.proxy.write(&format!("{}{}", listener(scene.front, ""), route("all", "pool = \"nowhere\"")))?;
    let refused = scene.proxy.cli(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    ensure!(
        refused.status.code() == Some(2) && said.contains("nowhere") && said.contains("lb.toml:"),
        "{}: {said}",
        refused.status
    );
    // A port that is taken is refused as a whole as well.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let more = format!("[[listener]]\nname = \"more\"\nlisten = \"{}\"\n", taken.local_addr()?);
    let good = [
        listener(scene.front, ""),
        pool("web", &[scene.backend.address], ""),
        route("new", "respond = { status = 418 }"),
    ]
    .concat();
    scene.proxy.write(&format!("{good}{more}"))?;
    let refused = scene.proxy.cli(&["reload"])?;
    ensure!(!refused.status.success(), "a port that is taken: {}", refused.status);
    ensure!(client.ask(get("/", ""))?.status == 200, "the old one is not in force");
    scene.proxy.reload(&good)?;
    ensure!(client.ask(get("/", ""))?.status == 418, "the new one is not in force");
    Ok(())
}

#[test]
fn a_listener_comes_and_goes_by_reload() -> Result<()> {
    let scene = Scene::echo()?;
    let second = port::free()?;
    let text = |more: &str| {
        [
            listener(scene.front, ""),
            more.to_owned(),
            pool("web", &[scene.backend.address], ""),
            route("all", "pool = \"web\""),
        ]
        .concat()
    };
    let more = format!("[[listener]]\nname = \"more\"\nlisten = \"{second}\"\n");
    let mut old = scene.client()?;
    ensure!(old.ask(get("/", ""))?.status == 200, "not served");
    scene.proxy.reload(&text(&more))?;
    let mut new = Client::connect(second)?;
    ensure!(new.ask(get("/", ""))?.status == 200 && old.ask(get("/", ""))?.status == 200, "not served");
    scene.proxy.reload(&text(""))?;
    ensure!(Client::connect(second).and_then(|mut c| c.ask(get("/", ""))).is_err(), "a removed listener answers");
    ensure!(old.ask(get("/", ""))?.status == 200, "an unchanged listener lost a connection");
    Ok(())
}

#[test]
fn a_port_that_is_taken_ends_with_1_and_says_so() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let mut proxy = Proxy::prepare("")?;
    proxy.write(&[listener(address, ""), route("all", "respond = { status = 200 }")].concat())?;
    let out = proxy.command(&["run", "--config", &proxy.config().to_string_lossy()]).output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.code() == Some(1) && said.contains(&address.to_string()), "{}: {said}", out.status);
    drop(taken);
    proxy.run()
}

#[test]
fn a_tap_shows_live_requests_without_their_secrets() -> Result<()> {
    let scene = Scene::routes("", &several(), echo::reply)?;
    let mut tap = scene.proxy.command(&["tap", "--route", "plain", "--json"]).stdout(Stdio::piped()).spawn()?;
    let out = BufReader::new(tap.stdout.take().context("no output")?);
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
    let line = clock::until("a line of the tap", Duration::from_secs(10), || {
        let secrets = "Authorization: Basic c2VjcmV0\r\nCookie: sid=s3cr3t\r\nX-API-Key: k3y\r\n";
        scene.ask(get("/p/tapped?token=t0ken", secrets))?;
        scene.get("/said")?;
        Ok(lines.recv_timeout(Duration::from_millis(300)).ok())
    });
    let _ = tap.kill();
    let _ = tap.wait();
    let line = line?;
    let document: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
    ensure!(document.to_string().contains("/p/tapped"), "{document}");
    for secret in ["c2VjcmV0", "s3cr3t", "k3y"] {
        ensure!(!line.contains(secret), "{secret} is shown: {line}");
    }
    Ok(())
}

#[test]
fn plan_and_status_know_layer_7() -> Result<()> {
    let scene = Scene::routes("", &several(), echo::reply)?;
    let status = scene.proxy.json(&["status"])?;
    ensure!(status["listeners"].is_array() && status["routes"].is_array(), "{status}");
    let changed = several().replace("\"tea\"", "\"coffee\"");
    let text = [
        listener(scene.front, ""),
        pool("web", &[scene.backend.address], ""),
        changed,
        route("new", "match = { path = \"/new\" }\npool = \"web\""),
    ];
    scene.proxy.write(&text.concat())?;
    let plan = scene.proxy.json(&["plan", "--config", &scene.proxy.config().to_string_lossy()])?;
    let routes = plan["routes"].to_string();
    ensure!(routes.contains("new") && routes.contains("said") && !routes.contains("moved"), "{plan}");
    Ok(())
}
