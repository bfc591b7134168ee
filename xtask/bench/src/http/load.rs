//! Closed-loop load by wrk and h2load, and what they report.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::peers::Peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Small,
    SmallTls,
    Handshakes,
    H2,
    Big,
    Upload,
    CacheHit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    pub(super) failed: u64,
}

impl Row {
    pub(super) const ALL: [Self; 7] =
        [Self::Small, Self::SmallTls, Self::Handshakes, Self::H2, Self::Big, Self::Upload, Self::CacheHit];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::SmallTls => "small-tls",
            Self::Handshakes => "handshakes",
            Self::H2 => "h2",
            Self::Big => "big",
            Self::Upload => "upload",
            Self::CacheHit => "cache-hit",
        }
    }
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Small => "Small responses, HTTP/1.1 keep-alive, 32 connections",
            Self::SmallTls => "Small responses, HTTPS keep-alive, 32 connections",
            Self::Handshakes => "TLS handshakes with one small response each",
            Self::H2 => "Small responses, HTTP/2 over TLS, 8 connections of 16 streams",
            Self::Big => "Responses of 1 MiB, HTTP/1.1, 8 connections",
            Self::Upload => "Uploads of 1 MiB, HTTP/1.1, 8 connections",
            Self::CacheHit => "Small responses from the cache, HTTP/1.1 keep-alive",
        }
    }
    /// A bare proxy has no cache.
    pub(super) fn suits(self, peer: Peer) -> bool {
        self != Self::CacheHit || peer != Peer::Bare
    }
}

/// `seconds` of it.
pub(super) fn run(row: Row, peer: Peer, seconds: f64) -> Result<Done> {
    let (clear, tls) = (peer.clear(), peer.tls());
    match row {
        Row::Small => wrk(&format!("http://{clear}/small"), 32, seconds, &[], ""),
        Row::SmallTls => wrk(&format!("https://{tls}/small"), 32, seconds, &[], ""),
        Row::Handshakes => wrk(&format!("https://{tls}/small"), 32, seconds, &["-H", "Connection: close"], ""),
        Row::H2 => h2load(&format!("https://{tls}/small"), seconds),
        Row::Big => wrk(&format!("http://{clear}/big/1m"), 8, seconds, &[], ""),
        Row::Upload => {
            let body = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 1048576)\n";
            wrk(&format!("http://{clear}/upload"), 8, seconds, &[], body)
        }
        Row::CacheHit => wrk(&format!("http://{clear}/cached"), 32, seconds, &[], ""),
    }
}

/// What wrk counts itself is told by a script's `done`, in numbers.
fn wrk(url: &str, connections: u32, seconds: f64, more: &[&str], script: &str) -> Result<Done> {
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    write!(
        file,
        "{script}done = function(s, l, r)\n  io.write(string.format(\"TOTAL %d %d %d\\n\", s.requests, s.duration, \
         s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout))\nend\n"
    )?;
    file.flush()?;
    let whole = seconds.ceil() as u64;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{whole}s"), "--timeout", "10s"]);
    command.args(more).arg("-s").arg(file.path()).arg(url).stderr(Stdio::inherit());
    let out = command.output().context("wrk cannot be run")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let totals = text.lines().find_map(|l| l.strip_prefix("TOTAL ")).with_context(|| format!("wrk said: {text}"))?;
    let numbers: Vec<u64> = totals.split(' ').filter_map(|n| n.parse().ok()).collect();
    let [requests, microseconds, failed] = numbers[..] else { bail!("wrk said: {text}") };
    if requests == 0 {
        bail!("nothing was answered");
    }
    Ok(Done { requests, per_second: requests as f64 / (microseconds as f64 / 1e6), failed })
}

fn h2load(url: &str, seconds: f64) -> Result<Done> {
    let whole = seconds.ceil() as u64;
    let mut command = Command::new("h2load");
    command.args(["-t1", "-c8", "-m16", &format!("-D{whole}"), url]).stderr(Stdio::null());
    let out = command.output().context("h2load cannot be run")?;
    let text = String::from_utf8_lossy(&out.stdout);
    // "requests: 1234 total, 1234 started, 1234 done, 1234 succeeded, 0 failed, 0 errored, 0 timeout"
    let line = text.lines().find_map(|l| l.strip_prefix("requests: ")).with_context(|| format!("h2load: {text}"))?;
    let number = |what: &str| {
        let part = line.split(", ").find_map(|p| p.strip_suffix(what));
        part.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let succeeded = number(" succeeded");
    if succeeded == 0 {
        bail!("nothing was answered: {text}");
    }
    let failed = number(" failed") + number(" errored") + number(" timeout");
    Ok(Done { requests: succeeded, per_second: succeeded as f64 / whole as f64, failed })
}
