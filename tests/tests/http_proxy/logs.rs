//! The access log and the metrics: what each field says, sampling, reopening, and counts that agree with the requests.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::Backend;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, get, listener, pool, post, route};
use lb_tests::http::{echo, port};

const FIELDS: [&str; 22] = [
    "time",
    "request_id",
    "listener",
    "route",
    "consumer",
    "version",
    "client",
    "method",
    "host",
    "path",
    "status",
    "reason",
    "backend",
    "pool",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "backend_ms",
    "retries",
    "cache",
    "tls",
    "protocol",
];

#[test]
fn a_line_says_all_there_is_to_say() -> Result<()> {
    let scene = Scene::echo()?;
    let answer = scene.ask(post("/a/b?secret=1", "", "hello"))?;
    let line = &scene.proxy.access_lines(1)?[0];
    let object = line.as_object().context("no object")?;
    for field in FIELDS {
        ensure!(object.contains_key(field), "{field} is absent: {line}");
    }
    let time = line["time"].as_str().unwrap_or_default();
    ensure!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "time {time}");
    ensure!(line["request_id"] == answer.field("x-request-id").unwrap_or_default(), "{line}");
    for (field, want) in [
        ("listener", "edge"),
        ("route", "all"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "a.test"),
        ("path", "/a/b"),
        ("pool", "web"),
        ("protocol", "HTTP/1.1"),
    ] {
        ensure!(line[field] == want, "{field}: {line}");
    }
    ensure!(line["backend"] == scene.backend.address.to_string(), "{line}");
    ensure!(line["status"] == 200 && line["bytes_in"] == 5 && line["bytes_out"] == answer.body.len(), "{line}");
    ensure!(line["retries"] == 0 && line["duration_ms"].is_number() && line["backend_ms"].is_number(), "{line}");
    for field in ["consumer", "version", "reason", "cache", "tls"] {
        ensure!(line[field].is_null(), "{field}: {line}");
    }
    ensure!(!line.to_string().contains("secret"), "the query is in the log: {line}");
    scene.get("/%zz")?;
    let lines = scene.proxy.access_lines(2)?;
    let refused = lines.iter().find(|l| l["status"] == 400).context("no line of the refusal")?;
    ensure!(
        refused["status"] == 400 && refused["reason"] == "bad_request" && refused["backend"].is_null(),
        "{refused}"
    );
    Ok(())
}

#[test]
fn a_sample_is_a_sample_and_off_is_off() -> Result<()> {
    let count = |host: &str| -> Result<usize> {
        let backend = echo::backend()?;
        let front = port::free()?;
        let text = [listener(front, ""), pool("web", &[backend.address], ""), route("all", "pool = \"web\"")].concat();
        let mut proxy = Proxy::prepare(host)?;
        proxy.write(&text)?;
        proxy.run()?;
        let mut client = Client::connect(front)?;
        for _ in 0..1000 {
            ensure!(client.ask(get("/", ""))?.status == 200, "not served");
        }
        clock::pass(Duration::from_millis(1200));
        Ok(proxy.access()?.len())
    };
    let sampled = count("access_log_sample = \"10%\"")?;
    ensure!((50..=160).contains(&sampled), "{sampled} of 1,000 at 10 %");
    ensure!(count("access_log_sample = \"0%\"")? == 0, "0 %");
    ensure!(count("access_log = \"off\"")? == 0, "off");
    Ok(())
}

#[test]
fn the_combined_format_and_standard_output() -> Result<()> {
    let backend = echo::backend()?;
    let front = port::free()?;
    let text = [listener(front, ""), pool("web", &[backend.address], ""), route("all", "pool = \"web\"")].concat();
    let mut proxy = Proxy::prepare("access_log = \"stdout\"\naccess_log_format = \"combined\"")?;
    proxy.write(&text)?;
    proxy.run()?;
    let answer = Client::connect(front)?.ask(get("/x?y=1", "User-Agent: me\r\nReferer: http://r.test/\r\n"))?;
    let end = format!("\" 200 {} \"http://r.test/\" \"me\"", answer.body.len());
    let line = clock::until("the line", Duration::from_secs(3), || {
        Ok(proxy.log().lines().find(|l| l.contains("\"GET /x")).map(str::to_owned))
    })?;
    ensure!(line.starts_with("127.0.0.1 - - [") && line.contains(&end), "{line}");
    Ok(())
}

#[test]
fn a_moved_log_is_opened_anew() -> Result<()> {
    let scene = Scene::echo()?;
    scene.get("/1")?;
    scene.proxy.access_lines(1)?;
    let path = scene.proxy.dir().join("access.log");
    for turn in ["reload", "hangup"] {
        std::fs::rename(&path, path.with_extension(turn))?;
        if turn == "reload" {
            scene.proxy.ok(&["reload"])?;
        } else {
            scene.proxy.signal(nix::sys::signal::Signal::SIGHUP)?;
        }
        clock::until("a new file", Duration::from_secs(5), || {
            scene.get("/again")?;
            Ok(path.exists().then_some(()))
        })
        .with_context(|| turn.to_owned())?;
        scene.proxy.access_lines(1)?;
    }
    Ok(())
}

fn sum(text: &str, family: &str, labels: &[&str]) -> f64 {
    let lines = text.lines().filter(|l| l.starts_with(family) && labels.iter().all(|x| l.contains(x)));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn metrics_agree_with_what_was_asked() -> Result<()> {
    let (backend, front, metrics) = (Backend::start(echo::reply)?, port::free()?, port::free()?);
    let text = [
        listener(front, ""),
        pool("web", &[backend.address], ""),
        route("all", "match = { path = \"/ok/*\" }\npool = \"web\""),
        route("said", "match = { path = \"/said\" }\nrespond = { status = 418 }"),
    ];
    let _proxy = Proxy::start_with(&format!("metrics = \"{metrics}\""), &[], &text.concat())?;
    let mut client = Client::connect(front)?;
    for n in 0..10 {
        client.ask(get(&format!("/ok/{n}"), ""))?;
    }
    client.ask(get("/said", ""))?;
    Client::connect(front)?.ask(get("/nowhere-we-know", ""))?;
    let text =
        Client::connect(metrics)?.ask("GET /metrics HTTP/1.1\r\nHost: m.test\r\nConnection: close\r\n\r\n")?.text();
    let address = format!("backend=\"{}\"", backend.address);
    let total = "lb_http_requests_total";
    ensure!(
        sum(&text, total, &["listener=\"edge\"", "route=\"all\"", "pool=\"web\"", "status=\"200\""]) == 10.0,
        "{text}"
    );
    ensure!(sum(&text, total, &["route=\"said\"", "status=\"418\""]) == 1.0, "{text}");
    ensure!(sum(&text, total, &["status=\"404\""]) == 1.0, "{text}");
    ensure!(sum(&text, "lb_backend_requests_total", &["pool=\"web\"", &address, "status=\"200\""]) == 10.0, "{text}");
    ensure!(sum(&text, "lb_http_request_seconds_bucket", &["route=\"all\"", "le=\"+Inf\""]) == 10.0, "{text}");
    ensure!(!text.contains("nowhere-we-know"), "a label takes what a client sends");
    Ok(())
}
