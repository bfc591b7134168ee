//! Mutual TLS: whose certificate is required, asked for, or of no interest; and the HTTP/3 announcement.

use anyhow::{Result, ensure};
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::tls::Authority;
use lb_tests::http::{echo, port};

fn ask(lines: &str, shown: Option<bool>) -> Result<lb_tests::http::answer::Answer> {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let pair = authority.server(&["a.test"])?;
    let (backend, front) = (echo::backend()?, port::free()?);
    let lines = format!("{lines}\n[[listener.certificate]]\ncert = \"a.pem\"\nkey = \"a.key\"");
    let files: [(&str, &[u8]); 3] =
        [("ca.pem", authority.pem.as_bytes()), ("a.pem", pair.cert.as_bytes()), ("a.key", pair.key.as_bytes())];
    let text = [listener(front, &lines), pool("web", &[backend.address], ""), route("all", "pool = \"web\"")];
    let proxy = Proxy::start_with("", &files, &text.concat())?;
    let shown = match shown {
        None => None,
        Some(true) => Some(authority.client("me")?),
        Some(false) => Some(stranger.client("me")?),
    };
    let config = authority.trusting(&["http/1.1"], shown.as_ref())?;
    let answer = Client::tls(front, "a.test", &config).and_then(|mut c| c.ask(get("/", "")));
    ensure!(answer.is_ok() == (backend.count() == 1), "the backend saw {} requests: {answer:?}", backend.count());
    drop(proxy);
    answer
}

#[test]
fn required_means_required() -> Result<()> {
    for lines in ["client_ca = \"ca.pem\"", "client_ca = \"ca.pem\"\nclient_auth = \"required\""] {
        ensure!(ask(lines, Some(true))?.status == 200, "a good certificate is refused");
        ensure!(ask(lines, None).is_err(), "served without a certificate");
        ensure!(ask(lines, Some(false)).is_err(), "served with a stranger's certificate");
    }
    Ok(())
}

#[test]
fn optional_serves_without_but_not_with_a_strangers() -> Result<()> {
    let lines = "client_ca = \"ca.pem\"\nclient_auth = \"optional\"";
    ensure!(ask(lines, Some(true))?.status == 200 && ask(lines, None)?.status == 200, "refused");
    ensure!(ask(lines, Some(false)).is_err(), "served with a stranger's certificate");
    Ok(())
}

#[test]
fn http_3_is_announced_where_it_is_spoken() -> Result<()> {
    let plain = ask("", None)?;
    ensure!(plain.status == 200 && plain.field("alt-svc").is_none(), "{:?}", plain.fields);
    let spoken = ask("protocols = [\"h1\", \"h2\", \"h3\"]", None)?;
    ensure!(spoken.field("alt-svc").is_some_and(|a| a.contains("h3=\":")), "{:?}", spoken.fields);
    Ok(())
}
