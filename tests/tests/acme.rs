//! `lb` with a certificate of its own: ordered from a real authority, at work without a restart, shown by `lb cert list`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lb_tests::authority::Authority;
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::{echo, port};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(40);

fn trusting(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificate(authority: &Authority) -> String {
    format!(
        "[[listener.certificate]]\nnames = [\"a.test\"]\nacme = {{ directory = \"{}\", email = \"a@example.com\", ca = \"{}\" }}",
        authority.directory(),
        authority.ca().display()
    )
}

fn shown(proxy: &Proxy) -> Result<Value> {
    let list = proxy.json(&["cert", "list"])?;
    let rows = list.as_array().cloned().unwrap_or_default();
    ensure!(rows.len() == 1, "{list}");
    Ok(rows[0].clone())
}

/// Until a client that knows the authority alone is answered; then what `lb cert list` says.
fn issued(proxy: &Proxy, authority: &Authority, front: SocketAddr) -> Result<Value> {
    let config = trusting(&authority.ca())?;
    let served = clock::until("a certificate is served", BOUND, || {
        let Ok(mut client) = Client::tls(front, "a.test", &config) else { return Ok(None) };
        Ok(Some(client.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")?))
    });
    let answer = served.with_context(|| format!("{}\n{}", proxy.log(), authority.log()))?;
    ensure!(answer.status == 200, "{answer:?}");
    let row = shown(proxy)?;
    ensure!(row["source"] == "acme" && row["issuer"] == "serles test root" && row["error"] == Value::Null, "{row}");
    ensure!(row["names"] == serde_json::json!(["a.test"]) && row["listener"] == "edge", "{row}");
    Ok(row)
}

#[test]
fn by_http_01_at_a_listener_in_clear_text() -> Result<()> {
    let (backend, front, clear) = (echo::backend()?, port::free()?, port::free()?);
    let authority = Authority::start(clear.port(), 1, 3600);
    let text = [
        listener(front, &certificate(&authority)),
        format!("[[listener]]\nname = \"clear\"\nlisten = \"{clear}\"\n"),
        pool("web", &[backend.address], ""),
        route("all", "pool = \"web\""),
    ];
    let proxy = Proxy::start(&text.concat())?;
    let before = shown(&proxy)?;
    ensure!(before["source"] == "acme", "{before}");
    issued(&proxy, &authority, front)?;
    // Another token is nobody's: it is routed like any path.
    let answer = Client::connect(clear)?.ask(get("/.well-known/acme-challenge/other", ""))?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(backend.seen().iter().any(|s| s.text().contains("acme-challenge/other")), "routed");
    ensure!(backend.seen().iter().filter(|s| s.text().contains("acme-challenge")).count() == 1, "validations are not");
    Ok(())
}

#[test]
fn by_tls_alpn_01_and_renewed_in_time() -> Result<()> {
    let (backend, front) = (echo::backend()?, port::free()?);
    let authority = Authority::start(1, front.port(), 9);
    let text = [
        listener(front, &certificate(&authority)),
        pool("web", &[backend.address], ""),
        route("all", "pool = \"web\""),
    ];
    let proxy = Proxy::start(&text.concat())?;
    let first = issued(&proxy, &authority, front)?;
    clock::until("it is renewed", BOUND, || {
        let row = shown(&proxy)?;
        Ok((row["not_after"] != first["not_after"] && row["error"] == Value::Null).then_some(()))
    })?;
    issued(&proxy, &authority, front)?;
    Ok(())
}
