//! Memory held for connections that do nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub(super) const CONNECTIONS: usize = 10_000;

/// Resident kibibytes of the process and its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) before: u64,
    pub(super) after: u64,
}

#[expect(clippy::disallowed_methods, reason = "the process is given a moment to settle")]
pub(super) fn run(to: SocketAddr, pid: u32) -> Result<Memory> {
    let before = resident(pid)?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    for i in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(to).with_context(|| format!("connection {i}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
        let mut head = [0; 1024];
        if stream.read(&mut head)? == 0 {
            bail!("connection {i} was closed");
        }
        open.push(stream);
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = resident(pid)?;
    drop(open);
    Ok(Memory { before, after })
}

pub(super) fn resident(pid: u32) -> Result<u64> {
    let mut sum = of_one(pid)?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            sum += of_one(child).unwrap_or(0);
        }
    }
    Ok(sum)
}

fn of_one(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("an odd VmRSS")
}
