//! WebSockets by Python's `websockets`: over TLS and in clear text, frames of all sizes, pings, a close that is told.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lb_tests::http::venv;

use crate::site::{NAME, Site};

const SERVER: &str = r#"
import asyncio, sys
from websockets.asyncio.server import serve
async def echo(ws):
    async for m in ws:
        if m == "close":
            await ws.close(4001, "told")
        else:
            await ws.send(m)
async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as s:
        print(s.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, os, ssl, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
async def main(url, ca):
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None
    async with connect(url, ssl=context, max_size=None) as ws:
        for n in [0, 1, 125, 126, 65535, 65536, 1000000]:
            data = os.urandom(n)
            await ws.send(data)
            assert await ws.recv() == data, n
        await ws.send("h\u00e9llo")
        assert await ws.recv() == "h\u00e9llo"
        await asyncio.wait_for(await ws.ping(), 5)
        for n in range(200):
            await ws.send(str(n))
        for n in range(200):
            assert await ws.recv() == str(n)
        await ws.send("close")
        try:
            await ws.recv()
            assert False, "not closed"
        except ConnectionClosed as e:
            assert e.rcvd.code == 4001 and e.rcvd.reason == "told", e
    async def one(n):
        async with connect(url, ssl=context) as ws:
            for k in range(20):
                await ws.send(f"{n}:{k}")
                assert await ws.recv() == f"{n}:{k}"
    await asyncio.gather(*[one(n) for n in range(20)])
    print("done")
asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 40))
"#;

#[test]
fn frames_of_all_sizes_pass_over_tls_and_in_clear_text() -> Result<()> {
    let python = venv::python("websockets-16.1.1")?;
    let mut server = Command::new(&python).args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let input = server.stdin.take();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take().context("no output")?);
    std::io::BufRead::read_line(&mut out, &mut line)?;
    let checked = checks(&python, line.trim());
    // It ends with its input.
    input.map(|mut i| i.flush()).transpose()?;
    let _ = server.wait();
    checked
}

fn checks(python: &std::path::Path, port: &str) -> Result<()> {
    let site = Site::new(format!("127.0.0.1:{port}").parse()?, "", "")?;
    let ca = site.proxy.dir().join("ca.pem");
    for url in [format!("ws://127.0.0.1:{}/", site.clear.port()), format!("wss://{NAME}:{}/", site.secure.port())] {
        let out = Command::new(python).args(["-c", CLIENT, &url]).arg(&ca).output()?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.success() && out.stdout.starts_with(b"done"), "{url}: {said}");
    }
    // Closed tunnels are no longer in flight, and each is one line of the log.
    let lines = site.proxy.access_lines(42)?;
    ensure!(lines.iter().all(|l| l["status"] == 101 && l["route"] == "all"), "{lines:?}");
    let shown = site.proxy.backend("web", &format!("127.0.0.1:{port}"))?;
    ensure!(shown["active_flows"] == 0 && shown["flows_total"] == 42, "{shown}");
    Ok(())
}
