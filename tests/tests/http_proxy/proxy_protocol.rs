//! The PROXY protocol: believed from trusted peers, and nothing else is answered.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

const ON: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, payload].concat()
}

fn v4(source: [u8; 4]) -> Vec<u8> {
    [&source[..], &[192, 0, 2, 1], &1234_u16.to_be_bytes(), &80_u16.to_be_bytes()].concat()
}

#[test]
fn the_address_in_the_header_is_the_client() -> Result<()> {
    let scene = Scene::with(ON, "", echo::reply)?;
    let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[4, 210, 0, 80]].concat();
    let tlv = [v4([203, 0, 113, 9]), vec![4, 0, 2, 1, 2]].concat();
    let cases: Vec<(&str, (Vec<u8>, &str))> = vec![
        ("v1 TCP4", (b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 80\r\n".to_vec(), "203.0.113.9")),
        ("v1 TCP6", (b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n".to_vec(), "2001:db8::7")),
        ("v1 UNKNOWN", (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1")),
        ("v1 UNKNOWN with junk", (b"PROXY UNKNOWN a b c d\r\n".to_vec(), "127.0.0.1")),
        ("v2 TCP4", (v2(1, 0x11, &v4([203, 0, 113, 9])), "203.0.113.9")),
        ("v2 TCP6", (v2(1, 0x21, &v6), "2001:db8::7")),
        ("v2 with TLVs", (v2(1, 0x11, &tlv), "203.0.113.9")),
        ("v2 LOCAL", (v2(0, 0x11, &v4([203, 0, 113, 9])), "127.0.0.1")),
        ("v2 LOCAL without", (v2(0, 0, &[]), "127.0.0.1")),
        ("v2 UNSPEC", (v2(1, 0, &[]), "127.0.0.1")),
    ];
    every(cases, |(header, want)| {
        let _ = scene.backend.forget();
        let before = scene.proxy.access()?.len();
        let answer = scene.ask([&header[..], get("/", "").as_bytes()].concat())?;
        ensure!(answer.status == 200, "{answer:?}");
        let seen = scene.backend.only()?;
        ensure!(seen.all("x-forwarded-for") == [want], "{:?}", seen.text());
        let line = scene.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
        ensure!(line["client"] == want, "{line}");
        Ok(())
    })
}

#[test]
fn the_header_may_come_in_pieces() -> Result<()> {
    let scene = Scene::with(ON, "", echo::reply)?;
    let header = v2(1, 0x11, &v4([203, 0, 113, 9]));
    let mut client = scene.client()?;
    for byte in &header {
        client.send([*byte])?;
        lb_tests::clock::pass(Duration::from_millis(5));
    }
    ensure!(client.ask(get("/", ""))?.status == 200, "not served");
    ensure!(scene.backend.only()?.field("x-forwarded-for") == Some("203.0.113.9"), "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn what_is_no_header_is_closed_unanswered() -> Result<()> {
    let scene = Scene::with(&format!("{ON}\ntimeout = {{ header = \"1s\" }}"), "", echo::reply)?;
    let request = get("/", "").into_bytes();
    let bad = |header: &[u8]| [header, &request[..]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("none", request.clone()),
        ("v1 without addresses", bad(b"PROXY TCP4\r\n")),
        ("v1 with a bad address", bad(b"PROXY TCP4 203.0.113.999 192.0.2.1 1 80\r\n")),
        ("v1 with a bad port", bad(b"PROXY TCP4 203.0.113.9 192.0.2.1 99999 80\r\n")),
        ("v1 of mixed families", bad(b"PROXY TCP4 2001:db8::7 192.0.2.1 1 80\r\n")),
        ("v1 too long", bad(&[b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200], b"\r\n".to_vec()].concat())),
        ("v1 without CR", bad(b"PROXY TCP4 203.0.113.9 192.0.2.1 1 80\n")),
        ("v1 in lower case", bad(b"proxy TCP4 203.0.113.9 192.0.2.1 1 80\r\n")),
        ("v2 of version 1", bad(&[SIGNATURE, &[0x11, 0x11, 0, 0]].concat())),
        ("v2 with an unknown command", bad(&v2(5, 0x11, &v4([1, 2, 3, 4])))),
        ("v2 too short for its family", bad(&v2(1, 0x11, &[1, 2, 3]))),
        ("half a header", v2(1, 0x11, &v4([1, 2, 3, 4]))[..20].to_vec()),
    ];
    every(cases, |bytes| {
        let mut client = scene.client()?;
        client.send(&bytes)?;
        let (_, rest) = client.ended(Duration::from_secs(4))?;
        ensure!(rest.is_empty(), "answered {:?}", String::from_utf8_lossy(&rest));
        ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
        Ok(())
    })?;
    let good = [&v2(0, 0, &[])[..], &request].concat();
    ensure!(scene.ask(good)?.status == 200, "a good header is not taken");
    Ok(())
}

#[test]
fn an_untrusted_peer_is_not_answered() -> Result<()> {
    let scene = Scene::with("proxy_protocol = true\ntrusted_proxies = [\"192.0.2.0/24\"]", "", echo::reply)?;
    let mut client = scene.client()?;
    client.send([b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 80\r\n".to_vec(), get("/", "").into_bytes()].concat())?;
    let (_, rest) = client.ended(Duration::from_secs(5))?;
    ensure!(rest.is_empty() && scene.backend.count() == 0, "answered {:?}", String::from_utf8_lossy(&rest));
    Ok(())
}

#[test]
fn forwarded_for_is_believed_only_if_the_headers_address_is_trusted() -> Result<()> {
    let scene = Scene::with(ON, "", echo::reply)?;
    for (source, want) in [("203.0.113.9", "203.0.113.9"), ("10.1.2.3", "198.51.100.5")] {
        let _ = scene.backend.forget();
        let before = scene.proxy.access()?.len();
        let request = get("/", "X-Forwarded-For: 198.51.100.5\r\n");
        let answer = scene.ask(format!("PROXY TCP4 {source} 192.0.2.1 1234 80\r\n{request}"))?;
        ensure!(answer.status == 200, "{answer:?}");
        let line = scene.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
        ensure!(line["client"] == want, "from {source}: {line}");
    }
    Ok(())
}
