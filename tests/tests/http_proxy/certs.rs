//! TLS toward clients and toward backends: names, certificates that change, 421, HSTS, versions.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::Backend;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::stream::Stream;
use lb_tests::http::tls::{Authority, Pair, serving};
use lb_tests::http::{echo, port};

struct Secured {
    authority: Authority,
    proxy: Proxy,
    backend: Backend,
    front: SocketAddr,
}

/// A TLS listener with a certificate for `a.test` and one for `*.b.test`.
fn secured(lines: &str, routes: &str) -> Result<Secured> {
    let (authority, backend, front) = (Authority::new()?, echo::backend()?, port::free()?);
    let (a, b) = (authority.server(&["a.test"])?, authority.server(&["*.b.test"])?);
    let certificates = "\n[[listener.certificate]]\nnames = [\"a.test\"]\ncert = \"a.pem\"\nkey = \"a.key\"\n\
                        [[listener.certificate]]\ncert = \"b.pem\"\nkey = \"b.key\"";
    let files: [(&str, &[u8]); 4] = [
        ("a.pem", a.cert.as_bytes()),
        ("a.key", a.key.as_bytes()),
        ("b.pem", b.cert.as_bytes()),
        ("b.key", b.key.as_bytes()),
    ];
    let text =
        [listener(front, &format!("{lines}{certificates}")), pool("web", &[backend.address], ""), routes.to_owned()];
    Ok(Secured { proxy: Proxy::start_with("", &files, &text.concat())?, authority, backend, front })
}

fn everything() -> String {
    route("all", "pool = \"web\"")
}

impl Secured {
    fn client(&self, name: &str) -> Result<Client> {
        Client::tls(self.front, name, &self.authority.trusting(&["http/1.1"], None)?)
    }
    /// The certificate shown for a name, as DER.
    fn shown(&self, name: &str) -> Result<Vec<u8>> {
        let client = self.client(name)?;
        let Stream::Client(tls) = &client.stream else { anyhow::bail!("not TLS") };
        let chain = tls.conn.peer_certificates().unwrap_or_default();
        Ok(chain.first().map(|c| c.to_vec()).unwrap_or_default())
    }
    fn put(&self, name: &str, pair: &Pair) -> Result<()> {
        self.proxy.file(&format!("{name}.key"), pair.key.as_bytes())?;
        self.proxy.file(&format!("{name}.pem"), pair.cert.as_bytes()).map(drop)
    }
}

#[test]
fn a_name_gets_its_certificate_and_the_backend_hears_https() -> Result<()> {
    let secured = secured("hsts = \"365d\"", &everything())?;
    let answer = secured.client("a.test")?.ask(get("/", ""))?;
    ensure!(answer.status == 200, "{answer:?}");
    let hsts = answer.field("strict-transport-security").unwrap_or_default();
    ensure!(hsts.starts_with("max-age=31536000"), "{:?}", answer.fields);
    let seen = secured.backend.only()?;
    ensure!(seen.all("x-forwarded-proto") == ["https"], "{:?}", seen.text());
    let wild = secured.client("x.b.test")?.ask("GET / HTTP/1.1\r\nHost: x.b.test\r\n\r\n")?;
    ensure!(wild.status == 200, "{wild:?}");
    let lines = secured.proxy.access_lines(2)?;
    ensure!(lines.iter().all(|l| l["tls"] == "TLSv1.3" && l["protocol"] == "HTTP/1.1"), "{lines:?}");
    Ok(())
}

#[test]
fn an_unknown_name_gets_the_first_certificate() -> Result<()> {
    let secured = secured("", &everything())?;
    let refused = secured.client("unknown.test").err().map(|e| format!("{e:#}")).unwrap_or_default();
    // Our client knows the name it wanted; that it saw a certificate for another one shows which it was.
    ensure!(
        refused.contains("a.test") || refused.contains("NotValidForName") || refused.contains("not valid for"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn a_host_that_is_not_for_this_connection_gets_421() -> Result<()> {
    let only = route("named", "match = { host = \"a.test\" }\npool = \"web\"");
    let secured = secured("", &only)?;
    let mut client = secured.client("a.test")?;
    ensure!(client.ask(get("/", ""))?.status == 200, "not served");
    client.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")?.is_refusal(421, "misdirected")?;
    // Covered by a certificate, but named by no route.
    secured.client("a.test")?.ask("GET / HTTP/1.1\r\nHost: x.b.test\r\n\r\n")?.is_refusal(421, "misdirected")?;
    ensure!(secured.backend.count() == 1, "{:?}", secured.backend.seen());
    Ok(())
}

#[test]
fn without_a_host_in_its_match_a_route_takes_any() -> Result<()> {
    let secured = secured("", &everything())?;
    let answer = secured.client("a.test")?.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[test]
fn in_clear_text_an_unknown_host_is_404_and_there_is_no_hsts() -> Result<()> {
    let scene = lb_tests::http::scene::Scene::routes(
        "hsts = \"0s\"",
        &route("named", "match = { host = \"a.test\" }\npool = \"web\""),
        echo::reply,
    )?;
    scene.ask("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")?.is_refusal(404, "no_route")?;
    ensure!(scene.get("/")?.field("strict-transport-security").is_none(), "HSTS in clear text");
    Ok(())
}

#[test]
fn a_changed_certificate_is_used_within_three_seconds_and_drops_nobody() -> Result<()> {
    let secured = secured("", &everything())?;
    let mut living = secured.client("a.test")?;
    ensure!(living.ask(get("/", ""))?.status == 200, "not served");
    let first = secured.shown("a.test")?;
    let start = clock::now();
    secured.put("a", &secured.authority.server(&["a.test"])?)?;
    let second = clock::until("the new certificate", Duration::from_secs(6), || {
        Ok(Some(secured.shown("a.test")?).filter(|shown| *shown != first))
    })?;
    ensure!(start.elapsed() < Duration::from_millis(3500), "after {:?}", start.elapsed());
    ensure!(living.ask(get("/", ""))?.status == 200, "a connection was dropped");
    // A key that does not fit is ignored, and shown.
    let stranger = secured.authority.server(&["a.test"])?;
    secured.proxy.file("a.key", stranger.key.as_bytes())?;
    clock::until("the error is shown", Duration::from_secs(6), || {
        let all = secured.proxy.json(&["cert", "list"])?;
        Ok(all.as_array().is_some_and(|l| l.iter().any(|c| c["error"].is_string())).then_some(()))
    })?;
    ensure!(secured.shown("a.test")? == second, "a pair that does not fit is used");
    secured.proxy.file("a.pem", b"junk")?;
    clock::pass(Duration::from_secs(2));
    ensure!(secured.shown("a.test")? == second, "junk is used");
    Ok(())
}

#[test]
fn certificates_are_listed() -> Result<()> {
    let secured = secured("", &everything())?;
    let all = secured.proxy.json(&["cert", "list"])?;
    let list = all.as_array().cloned().unwrap_or_default();
    ensure!(list.len() == 2, "{all}");
    ensure!(
        list[0]["names"] == serde_json::json!(["a.test"]) && list[1]["names"] == serde_json::json!(["*.b.test"]),
        "{all}"
    );
    for entry in &list {
        ensure!(entry["source"] == "file" && entry["listener"] == "edge" && entry["error"].is_null(), "{entry}");
        ensure!(entry["issuer"].as_str().is_some_and(|i| i.contains("lb tests")), "{entry}");
        ensure!(entry["not_after"].as_str().is_some_and(|n| n.contains('T')) && entry["path"].is_string(), "{entry}");
    }
    Ok(())
}

#[test]
fn an_older_version_than_told_is_not_spoken() -> Result<()> {
    let secured = secured("tls = { min = \"1.3\" }", &everything())?;
    let url = format!("https://a.test:{}/", secured.front.port());
    let curl = |most: &str| {
        let resolve = format!("a.test:{}:127.0.0.1", secured.front.port());
        std::process::Command::new("curl")
            .args(["-sk", "--http1.1", "--tls-max", most, "--resolve", &resolve, &url])
            .output()
    };
    ensure!(curl("1.3")?.status.success(), "1.3 is not spoken");
    ensure!(!curl("1.2")?.status.success(), "1.2 is spoken");
    Ok(())
}

#[test]
fn a_stalled_handshake_is_closed() -> Result<()> {
    let secured = secured("timeout = { tls = \"1s\" }", &everything())?;
    let mut client = Client::connect(secured.front)?;
    client.send([0x16, 3, 1])?;
    client.ended(Duration::from_secs(5))?;
    let mut plain = Client::connect(secured.front)?;
    plain.send(get("/", ""))?;
    plain.ended(Duration::from_secs(5))?;
    ensure!(secured.backend.count() == 0 && secured.client("a.test")?.ask(get("/", ""))?.status == 200, "not served");
    Ok(())
}

#[test]
fn backends_over_tls_are_verified() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let good = Backend::start_tls(serving(&authority.server(&["inner.test"])?, &[])?, echo::reply)?;
    let strange = Backend::start_tls(serving(&other.server(&["inner.test"])?, &[])?, echo::reply)?;
    let front = port::free()?;
    let tls = "tls = { ca = \"ca.pem\", server_name = \"inner.test\" }";
    let text = [
        listener(front, ""),
        pool("good", &[good.address], tls),
        pool("strange", &[strange.address], tls),
        pool("name", &[good.address], "tls = { ca = \"ca.pem\", server_name = \"else.test\" }"),
        pool("open", &[strange.address], "tls = { verify = false }"),
        ["good", "strange", "name", "open"]
            .map(|n| route(n, &format!("match = {{ path = \"/{n}\" }}\npool = \"{n}\"")))
            .concat(),
    ];
    let _proxy = Proxy::start_with("", &[("ca.pem", authority.pem.as_bytes())], &text.concat())?;
    let ask = |path: &str| Client::connect(front)?.ask(get(path, ""));
    ensure!(ask("/good")?.status == 200 && ask("/open")?.status == 200, "not served");
    ask("/strange")?.is_refusal(502, "backend_tls")?;
    ask("/name")?.is_refusal(502, "backend_tls")?;
    ensure!(strange.count() == 1 && good.count() == 1, "{} and {}", strange.count(), good.count());
    Ok(())
}
