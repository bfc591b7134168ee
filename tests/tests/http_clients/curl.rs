//! curl: HTTP/1.1, HTTP/2 over TLS and in clear text, HTTP/3 if this curl has it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lb_tests::http::echo;

use crate::site::{NAME, Site};

/// Runs curl with the site's authority; its body, and what `--write-out` said.
fn curl(site: &Site, args: &[&str]) -> Result<(String, String)> {
    let ca = site.proxy.dir().join("ca.pem");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--cacert"]).arg(ca).args(["-w", "\n%{http_version} %{response_code}"]);
    let out = command.args(args).output().context("curl is missing: cargo xtask setup")?;
    ensure!(out.status.success(), "curl {args:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, wrote) = text.rsplit_once('\n').context("nothing written")?;
    Ok((body.to_owned(), wrote.to_owned()))
}

fn urls(site: &Site) -> (String, String) {
    (format!("https://{NAME}:{}/x?y=1", site.secure.port()), format!("http://127.0.0.1:{}/x?y=1", site.clear.port()))
}

#[test]
fn curl_in_every_version_it_speaks() -> Result<()> {
    let backend = echo::backend()?;
    let site = Site::new(backend.address, "", "")?;
    let (secure, clear) = urls(&site);
    for (args, url, want, protocol) in [
        (&["--http1.1"][..], &secure, "1.1 200", "HTTP/1.1"),
        // Without ALPN, in which curl would name a protocol that is not spoken here.
        (&["--http1.0", "--no-alpn"], &secure, "1.", "HTTP/1.0"),
        (&["--http2"], &secure, "2 200", "HTTP/2"),
        (&["--http1.1"], &clear, "1.1 200", "HTTP/1.1"),
        (&["--http2-prior-knowledge"], &clear, "2 200", "HTTP/2"),
        // Asks for an upgrade, and is not upgraded.
        (&["--http2"], &clear, "1.1 200", "HTTP/1.1"),
    ] {
        let before = site.proxy.access()?.len();
        let (body, wrote) = curl(&site, &[args, &[url.as_str()]].concat())?;
        ensure!(wrote.starts_with(want) && wrote.ends_with("200"), "{args:?} {url}: {wrote}");
        ensure!(body.contains("\"target\":\"/x?y=1\""), "{args:?} {url}: {body}");
        let line = site.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
        ensure!(line["protocol"] == protocol && line["tls"].is_null() == url.starts_with("http:"), "{args:?}: {line}");
    }
    Ok(())
}

#[test]
fn curl_posts_a_body_in_each() -> Result<()> {
    let backend = echo::backend()?;
    let site = Site::new(backend.address, "", "")?;
    let (secure, clear) = urls(&site);
    let body: Vec<u8> = (0..2_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let file = site.proxy.file("body.bin", &body)?;
    let data = format!("@{}", file.display());
    for (flag, url) in [("--http1.1", &secure), ("--http2", &secure), ("--http2-prior-knowledge", &clear)] {
        for more in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"]] {
            if flag != "--http1.1" && more.iter().any(|m| m.contains("chunked")) {
                continue;
            }
            let (said, wrote) = curl(&site, &[&[flag, "--data-binary", &data], more, &[url.as_str()]].concat())?;
            let document: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
            ensure!(wrote.ends_with("200"), "{flag}: {wrote}");
            ensure!(
                document["length"] == body.len() && document["digest"] == echo::digest(&body),
                "{flag} {more:?}: {said}"
            );
        }
    }
    Ok(())
}

#[test]
fn curl_asks_several_at_once_on_one_connection() -> Result<()> {
    let backend = echo::backend()?;
    let site = Site::new(backend.address, "", "")?;
    let url = format!("https://{NAME}:{}/p[1-50]", site.secure.port());
    let (body, _) = curl(&site, &["--http2", "-Z", "--parallel-max", "50", &url])?;
    for n in 1..=50 {
        ensure!(body.contains(&format!("\"target\":\"/p{n}\"")), "/p{n} is not answered");
    }
    ensure!(backend.count() == 50, "the backend saw {}", backend.count());
    Ok(())
}

#[test]
fn curl_over_http_3_if_it_can() -> Result<()> {
    let version = Command::new("curl").arg("--version").output().context("curl is missing")?;
    let features = String::from_utf8_lossy(&version.stdout).into_owned();
    let backend = echo::backend()?;
    let site = Site::speaking("protocols = [\"h1\", \"h2\", \"h3\"]", backend.address, "", "")?;
    let url = format!("https://{NAME}:{}/x", site.secure.port());
    if features.contains("HTTP3") {
        let (body, wrote) = curl(&site, &["--http3-only", &url])?;
        ensure!(wrote == "3 200" && body.contains("\"target\":\"/x\""), "{wrote}: {body}");
        return Ok(());
    }
    // This curl cannot: it is told of HTTP/3 and goes on with HTTP/2.
    let (_, wrote) = curl(&site, &["--http2", &url])?;
    let (head, _) = curl(&site, &["--http2", "-I", &url])?;
    ensure!(wrote == "2 200" && head.to_lowercase().contains("alt-svc: h3="), "{wrote}: {head}");
    Ok(())
}
