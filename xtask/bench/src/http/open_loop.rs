//! Latency at a fixed rate: each request has its moment, and is late from then on, whether or not a connection was free.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: bench.test\r\n\r\n";

/// `rate` a second over `connections` for `seconds`, by threads that each own a part of the rate.
#[expect(clippy::disallowed_methods, reason = "this measures time")]
pub(super) fn run(to: SocketAddr, rate: f64, connections: usize, seconds: f64) -> Result<Latency> {
    let (report, reports) = mpsc::channel();
    let gap = Duration::from_secs_f64(connections as f64 / rate);
    let begin = Instant::now() + Duration::from_millis(300);
    let end = begin + Duration::from_secs_f64(seconds);
    for i in 0..connections {
        let report = report.clone();
        let first = begin + gap.mul_f64(i as f64 / connections as f64);
        std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            let _ = report.send(one(to, first, gap, end));
        })?;
    }
    drop(report);
    let mut all = Vec::new();
    for part in reports {
        all.extend(part?);
    }
    all.sort_by(f64::total_cmp);
    if all.len() < 1000 {
        bail!("only {} requests were answered", all.len());
    }
    let at = |q: f64| all[((all.len() - 1) as f64 * q) as usize];
    Ok(Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
}

#[expect(clippy::disallowed_methods, reason = "this measures time, and waits for moments")]
fn one(to: SocketAddr, first: Instant, gap: Duration, end: Instant) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(to).context("a connection")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut took = Vec::new();
    let mut buffer = VecDeque::new();
    let mut due = first;
    while due < end {
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        }
        stream.write_all(REQUEST)?;
        answer(&mut stream, &mut buffer)?;
        took.push(due.elapsed().as_secs_f64());
        due += gap;
    }
    Ok(took)
}

/// Reads one response of known length.
fn answer(stream: &mut TcpStream, buffer: &mut VecDeque<u8>) -> Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let bytes = buffer.make_contiguous();
        if let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            if !text.starts_with("http/1.1 200") {
                bail!("an answer of another status: {text}");
            }
            let length = text.lines().find_map(|l| l.strip_prefix("content-length:")).context("no length")?;
            let whole = head + 4 + length.trim().parse::<usize>()?;
            if bytes.len() >= whole {
                buffer.drain(..whole);
                return Ok(());
            }
        }
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            bail!("the connection was closed");
        }
        buffer.extend(&chunk[..n]);
    }
}
