//! Row 5: one request has one host, and a connection with client certificates has one as well.

use anyhow::{Result, ensure};
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, every, listener, pool, route};
use lb_tests::http::tls::Authority;
use lb_tests::http::{echo, port};

#[test]
fn row_5_a_missing_doubled_or_junk_host_is_refused() -> Result<()> {
    let scene = Scene::echo()?;
    let hosts = [
        "a b",
        "a/b",
        "u@a.test",
        "a.test:x",
        "a.test:99999",
        "a.test:",
        "[::1",
        "::1",
        "a.test#",
        "a?b",
        "a,b",
        "a\\b",
        "a.test:80:80",
        "<a>",
        "a%00b",
    ];
    let mut cases: Vec<(String, String)> = hosts
        .iter()
        // A port may be empty by the grammar (RFC 3986 §3.2.3).
        .filter(|h| **h != "a.test:")
        .map(|h| (format!("{h:?}"), format!("GET / HTTP/1.1\r\nHost: {h}\r\n\r\n")))
        .collect();
    cases.push(("none".into(), "GET / HTTP/1.1\r\nA: b\r\n\r\n".into()));
    cases.push(("two".into(), "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n".into()));
    cases.push(("the same twice".into(), "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n".into()));
    cases.push(("other than in the target".into(), "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n".into()));
    cases.push(("user in the target".into(), "GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n".into()));
    cases.push(("empty".into(), "GET / HTTP/1.1\r\nHost: \r\n\r\n".into()));
    every(cases, |bytes| scene.refuses(bytes, 400, "bad_request"))
}

#[test]
fn row_5_the_absolute_form_is_taken_and_sent_on_as_a_path() -> Result<()> {
    let scene = Scene::echo()?;
    let answer = scene.ask("GET http://a.test/x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n")?;
    ensure!(answer.status == 200, "status {}", answer.status);
    let seen = scene.backend.only()?;
    ensure!(seen.target == "/x?y=1" && seen.all("host") == ["a.test"], "{:?}", seen.text());
    Ok(())
}

#[test]
fn row_5_http_1_0_may_be_without_host() -> Result<()> {
    let scene = Scene::echo()?;
    let mut client = scene.client()?;
    let answer = client.ask("GET / HTTP/1.0\r\n\r\n")?;
    ensure!(answer.status == 200 || answer.status == 400, "status {}", answer.status);
    client.ended(std::time::Duration::from_secs(5))?;
    ensure!(scene.backend.seen().iter().all(|s| s.all("host").len() == 1), "{:?}", scene.backend.seen());
    let named = scene.ask("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")?;
    ensure!(named.status == 200 && named.json()["version"] == "HTTP/1.1", "{}", named.text());
    Ok(())
}

#[test]
fn row_5_where_clients_have_certificates_the_host_is_the_one_of_the_handshake() -> Result<()> {
    let authority = Authority::new()?;
    let pair = authority.server(&["a.test", "b.test"])?;
    let shown = authority.client("me")?;
    let (backend, front) = (echo::backend()?, port::free()?);
    let lines = "client_ca = \"ca.pem\"\n[[listener.certificate]]\nnames = [\"a.test\", \"b.test\"]\n\
                 cert = \"a.pem\"\nkey = \"a.key\"";
    let files = [("ca.pem", authority.pem.as_bytes()), ("a.pem", pair.cert.as_bytes()), ("a.key", pair.key.as_bytes())];
    let text = [&listener(front, lines), &pool("web", &[backend.address], ""), &route("all", "pool = \"web\"")];
    let _proxy = Proxy::start_with("", &files, &text.map(String::as_str).concat())?;
    let config = authority.trusting(&["http/1.1"], Some(&shown))?;
    let ask = |sni: &str, host: &str| {
        Client::tls(front, sni, &config)?.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    ensure!(ask("a.test", "a.test")?.status == 200, "the same name is not served");
    ask("a.test", "b.test")?.is_refusal(421, "misdirected")?;
    ensure!(backend.count() == 1, "the backend saw {:?}", backend.seen());
    let none = authority.trusting(&["http/1.1"], None)?;
    let refused = Client::tls(front, "a.test", &none).and_then(|mut c| c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    ensure!(refused.is_err() && backend.count() == 1, "served without a certificate: {refused:?}");
    Ok(())
}
