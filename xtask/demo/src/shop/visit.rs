//! curl as a visitor: each command as one would type it, what came back, and what is claimed of it.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use lb_tests::clock;
use lb_tests::lab::Topology;
use lb_tests::lab::addresses::{Family, client};
use serde_json::Value;

use super::indented;
use super::stage::{HOST, Shop, address};
use crate::claims::Claims;
use crate::picture;

pub(crate) fn all(shop: &Shop, claims: &mut Claims) -> Result<()> {
    secure(shop, claims)?;
    client_address(shop, claims)?;
    canary(shop, claims)?;
    cached_and_compressed(shop, claims)?;
    refused(shop, claims)?;
    explained(shop, claims)
}

/// What curl prints: the head and the body.
fn curl(shop: &Shop, words: &[&str], path: &str) -> Result<String> {
    let scheme = if path.starts_with("http://") { "" } else { "https://shop.test" };
    let url = format!("{scheme}{path}");
    println!("  $ curl {} {url}", words.join(" "));
    let root = shop.root();
    let out = shop.lab.client().inside(|| {
        let mut c = Command::new("curl");
        c.args(["-sS", "-i", "--max-time", "10", "--cacert"]).arg(root);
        for port in [443, 80] {
            c.args(["--resolve", &format!("{HOST}:{port}:{}", address(port).ip())]);
        }
        c.args(words).arg(&url).output()
    })??;
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    Ok(text.replace('\r', ""))
}

/// The status line, chosen fields and the last line of the body.
fn show(answer: &str, fields: &[&str]) {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let wanted = |l: &&str| fields.iter().any(|f| l.to_ascii_lowercase().starts_with(&format!("{f}:")));
    let lines = head.lines().take(1).chain(head.lines().filter(wanted));
    print!("{}", indented(&lines.collect::<Vec<_>>().join("\n")));
    if let Some(last) = body.lines().last().filter(|l| l.len() < 200) {
        print!("{}", indented(last));
    }
}

fn secure(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("TLS, HTTP/2, and a redirect for those who come in the clear");
    let home = curl(shop, &["--http2"], "/")?;
    show(&home, &["strict-transport-security", "content-type", "etag"]);
    claims.that(
        home.starts_with("HTTP/2 200") && home.contains("Welcome"),
        "the page came over HTTP/2, verified by the shop's root",
    );
    let clear = curl(shop, &[], "http://shop.test/orders?x=1")?;
    show(&clear, &["location"]);
    claims.that(
        clear.starts_with("HTTP/1.1 308") && clear.to_ascii_lowercase().contains("location: https://shop.test/orders"),
        "clear text is sent to https",
    );
    Ok(())
}

fn client_address(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("The path is rewritten, and the client's address arrives through both layers");
    let answer = curl(shop, &["-H", "X-Forwarded-For: 6.6.6.6"], "/api/v2/orders/17")?;
    show(&answer, &["x-request-id"]);
    let client = client(Topology::TwoArmed, Family::V4).to_string();
    claims.that(answer.contains("orders saw /orders/17"), "orders saw the path without /api/v2");
    claims.that(
        answer.contains(&format!("for {client}")) && !answer.contains("6.6.6.6"),
        &format!("it was told the client's own address, {client}, and not the forged one"),
    );
    let line = clock::until("the access log has it", Duration::from_secs(5), || {
        Ok(shop.access_lines().into_iter().find(|l| l["path"] == "/api/v2/orders/17"))
    })?;
    print!("{}", indented(&line.to_string()));
    claims.that(line["client"] == client.as_str() && line["route"] == "orders", "so does the gateway's access log");
    Ok(())
}

fn canary(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("One request in ten goes to the new catalogue");
    let mut seen = (0, 0);
    for _ in 0..100 {
        let root = shop.root();
        let out = shop.lab.client().inside(|| {
            let mut c = Command::new("curl");
            c.args(["-sS", "--max-time", "10", "--cacert"]).arg(root);
            c.args(["--resolve", &format!("{HOST}:443:{}", address(443).ip()), "https://shop.test/catalog/shoes"]);
            c.output()
        })??;
        let text = String::from_utf8_lossy(&out.stdout);
        if text.contains("catalog-next saw") {
            seen.1 += 1;
        } else if text.contains("catalog saw") {
            seen.0 += 1;
        }
    }
    picture::bars(&[("catalog     ", seen.0, Some(0.9)), ("catalog-next", seen.1, Some(0.1))]);
    claims.that(
        seen.0 + seen.1 == 100 && (8..=12).contains(&seen.1),
        "of 100 requests ten (give or take two) went there",
    );
    Ok(())
}

fn cached_and_compressed(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("A cached answer, and a compressed one");
    let mut hits = 0;
    let mut last = String::new();
    for _ in 0..6 {
        last = curl(shop, &[], "/catalog/prices")?;
        hits += usize::from(last.to_ascii_lowercase().contains("cache-status: lb; hit"));
    }
    show(&last, &["cache-status", "age"]);
    claims.that(hits >= 4, &format!("{hits} of 6 came from the gateways' caches (each had to ask once)"));
    let small = curl(shop, &["-H", "Accept-Encoding: zstd", "-o", "/dev/null", "-D", "-"], "/catalog/all")?;
    show(&small, &["content-encoding", "vary"]);
    claims.that(small.to_ascii_lowercase().contains("content-encoding: zstd"), "the catalogue came as zstd");
    Ok(())
}

fn refused(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("What is refused says why");
    let strange = curl(shop, &["-H", "Host: other.test"], "/")?;
    show(&strange, &["content-type"]);
    claims.that(
        strange.contains("421") && strange.contains("\"reason\":\"misdirected\""),
        "a host that is not served: 421",
    );
    let escape = curl(shop, &["--path-as-is"], "/catalog/%2e%2e%2fadmin")?;
    show(&escape, &["content-type"]);
    claims.that(escape.contains("400") && escape.contains("bad_request"), "an escaped slash in the path: 400");
    Ok(())
}

fn explained(shop: &Shop, claims: &mut Claims) -> Result<()> {
    picture::title("Why a request goes where it goes, without sending it");
    let words = ["explain", "--request", "GET https://shop.test/api/v2/orders/17"];
    println!("  $ lb {} --request {:?}", words[0], words[2]);
    let gateway = shop.gateway(0)?;
    print!("{}", indented(&gateway.text(&words)?));
    let told: Value = gateway.json(&words)?;
    claims.that(
        told["route"] == "orders" && told["pool"] == "orders",
        "it names the route and the pool that the request took",
    );
    print!("{}", indented(&gateway.text(&["route", "list"])?));
    Ok(())
}
