//! The sticky cookie: set once, opaque, not passed on, believed only while it is true.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lb_tests::http::backend::Backend;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::{echo, port};

struct Kept {
    backends: Vec<Backend>,
    proxy: Proxy,
    front: SocketAddr,
    text: String,
}

fn kept(sticky: &str) -> Result<Kept> {
    let backends = (0..3).map(|n| echo::named(&n.to_string())).collect::<Result<Vec<_>>>()?;
    let front = port::free()?;
    let addresses: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let lines = format!("algorithm = \"round-robin\"\nsticky = {{ {sticky} }}");
    let text = format!("{}{}{}", listener(front, ""), pool("web", &addresses, &lines), route("all", "pool = \"web\""));
    Ok(Kept { backends, proxy: Proxy::start(&text)?, front, text })
}

impl Kept {
    /// Which backend answered, and the Set-Cookie that came with it.
    fn ask(&self, cookie: &str) -> Result<(String, Option<String>)> {
        let fields = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
        let answer = Client::connect(self.front)?.ask(get("/", &fields))?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok((answer.text(), answer.field("set-cookie").map(str::to_owned)))
    }
    fn first(&self) -> Result<(String, String)> {
        let (who, cookie) = self.ask("")?;
        let cookie = cookie.context("no cookie was set")?;
        Ok((who, cookie.split(';').next().unwrap_or_default().to_owned()))
    }
}

#[test]
fn a_client_with_the_cookie_comes_back() -> Result<()> {
    let kept = kept("cookie = \"lb\"")?;
    let (who, cookie) = kept.first()?;
    ensure!(cookie.starts_with("lb=") && cookie.len() > 10, "{cookie}");
    for backend in &kept.backends {
        ensure!(!cookie.contains(&backend.address.port().to_string()), "the cookie names a backend: {cookie}");
    }
    for _ in 0..10 {
        let (again, set) = kept.ask(&format!("a=b; {cookie}; c=d"))?;
        ensure!(again == who && set.is_none(), "{again} instead of {who}, {set:?}");
    }
    let index: usize = who.parse()?;
    let seen = kept.backends[index].seen();
    ensure!(seen.len() >= 11, "the backend saw {}", seen.len());
    for s in &seen[1..] {
        ensure!(s.all("cookie") == ["a=b; c=d"], "the backend got {:?}", s.all("cookie"));
    }
    let (_, whole) = kept.ask("")?;
    let whole = whole.unwrap_or_default();
    for part in ["Path=/", "HttpOnly", "SameSite=Lax"] {
        ensure!(whole.contains(part), "{whole}");
    }
    ensure!(!whole.contains("Secure") && !whole.contains("Max-Age") && !whole.contains("Domain"), "{whole}");
    Ok(())
}

#[test]
fn a_forged_cookie_is_balanced_anew() -> Result<()> {
    let kept = kept("cookie = \"lb\", ttl = \"1h\", same_site = \"Strict\"")?;
    let (_, cookie) = kept.first()?;
    let (_, set) = kept.ask("")?;
    ensure!(set.is_some_and(|s| s.contains("Max-Age=3600") && s.contains("SameSite=Strict")), "attributes");
    let mut forged = cookie.clone().into_bytes();
    let at = forged.len() - 3;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let short = &cookie[..cookie.len() - 4];
    for bad in [String::from_utf8(forged)?, short.to_owned(), "lb=".into(), "lb=0".into(), "lb=127.0.0.1:80".into()] {
        let answered: std::collections::HashSet<String> =
            (0..6).map(|_| kept.ask(&bad).map(|(who, _)| who)).collect::<Result<_>>()?;
        ensure!(answered.len() == 3, "{bad} is believed: {answered:?}");
        ensure!(kept.ask(&bad)?.1.is_some(), "{bad}: no new cookie");
    }
    Ok(())
}

#[test]
fn a_cookie_outlives_a_restart_and_not_its_backend() -> Result<()> {
    let mut kept = kept("cookie = \"lb\"")?;
    let (who, cookie) = kept.first()?;
    kept.proxy.signal(nix::sys::signal::Signal::SIGTERM)?;
    kept.proxy.wait(std::time::Duration::from_secs(40))?;
    kept.proxy.run()?;
    ensure!(kept.ask(&cookie)?.0 == who, "another backend after a restart");
    let address = kept.backends[who.parse::<usize>()?].address.to_string();
    kept.proxy.ok(&["backend", "drain", "web", &address])?;
    let (other, set) = kept.ask(&cookie)?;
    ensure!(other != who && set.is_some(), "{other} of a draining backend, {set:?}");
    kept.proxy.ok(&["backend", "undrain", "web", &address])?;
    ensure!(kept.ask(&cookie)?.0 == who, "the cookie is of no use after undrain");
    kept.proxy.reload(
        &kept.text.replace(&format!("{{ address = \"{address}\" }}"), "").replace("[, ", "[").replace(", , ", ", "),
    )?;
    let (other, set) = kept.ask(&cookie)?;
    ensure!(other != who && set.is_some(), "{other} of a backend that is gone, {set:?}");
    Ok(())
}
