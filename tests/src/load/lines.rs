//! The backends' TCP protocol, one line a request, and its client's half.
//!
//! `who` → the backend's name and the peer it sees; `echo N` and N bytes → the same N bytes; `down N` → N bytes of
//! [`pattern`]; `bye` → the backend closes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A byte of the test pattern by its place: no period that a segment, page or buffer size divides.
#[must_use]
pub const fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Fills `out` with the pattern from `at` on.
pub fn fill(out: &mut [u8], at: u64) {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = pattern(at + i as u64);
    }
}

/// Serves one connection until the client is done.
pub(crate) async fn serve(stream: TcpStream, name: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (verb, count) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "0"));
        let count: u64 = count.parse().with_context(|| format!("'{line}' has no count"))?;
        match verb {
            "who" => writer.write_all(format!("{name} {peer}\n").as_bytes()).await?,
            "echo" => drop(tokio::io::copy_buf(&mut (&mut reader).take(count), &mut writer).await?),
            "down" => down(&mut writer, count).await?,
            "bye" => return Ok(()),
            _ => bail!("'{line}' is no request"),
        }
    }
}

async fn down(writer: &mut (impl AsyncWriteExt + Unpin), count: u64) -> Result<()> {
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    while at < count {
        let n = (chunk.len() as u64).min(count - at) as usize;
        fill(&mut chunk[..n], at);
        writer.write_all(&chunk[..n]).await?;
        at += n as u64;
    }
    Ok(())
}

/// A connection that speaks it.
#[derive(Debug)]
pub struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    /// # Errors
    /// As [`super::connect`].
    pub async fn open(from: SocketAddr, to: SocketAddr, bound: Duration) -> Result<Self> {
        Ok(Self { stream: BufReader::new(super::connect(from, to, bound).await?) })
    }

    /// The backend's name, and the address it sees the client under.
    ///
    /// # Errors
    /// If the connection breaks or the answer is none.
    pub async fn who(&mut self) -> Result<(String, SocketAddr)> {
        self.stream.write_all(b"who\n").await?;
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            bail!("closed before an answer came");
        }
        let (name, peer) = line.trim_end().split_once(' ').with_context(|| format!("'{line}' is no answer"))?;
        Ok((name.to_owned(), peer.parse()?))
    }

    /// Sends `count` bytes and checks each that comes back, both ways at once.
    ///
    /// # Errors
    /// At the first byte that differs, or if the connection breaks.
    pub async fn echo(&mut self, count: u64) -> Result<()> {
        let (reader, mut writer) = tokio::io::split(&mut self.stream);
        let send = async {
            writer.write_all(format!("echo {count}\n").as_bytes()).await?;
            down(&mut writer, count).await?;
            anyhow::Ok(writer.flush().await?)
        };
        tokio::try_join!(send, expect(reader, count)).map(drop)
    }

    /// Has `count` bytes sent and checks each.
    ///
    /// # Errors
    /// As [`Talk::echo`].
    pub async fn down(&mut self, count: u64) -> Result<()> {
        self.stream.write_all(format!("down {count}\n").as_bytes()).await?;
        expect(&mut self.stream, count).await
    }

    /// Ends the connection in order: the backend closes first, and nothing may follow.
    ///
    /// # Errors
    /// If anything but the end comes.
    pub async fn bye(mut self) -> Result<()> {
        self.stream.write_all(b"bye\n").await?;
        if self.stream.read_u8().await.is_ok() {
            bail!("bytes after the last answer");
        }
        Ok(())
    }

    /// Ends the connection by a reset, which leaves nothing waiting on either side.
    ///
    /// # Errors
    /// If the socket refuses.
    pub fn reset(self) -> Result<()> {
        #[expect(deprecated, reason = "with a time of zero nothing blocks: the socket is reset at once")]
        Ok(self.stream.into_inner().set_linger(Some(Duration::ZERO))?)
    }
}

async fn expect(mut reader: impl AsyncReadExt + Unpin, count: u64) -> Result<()> {
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    while at < count {
        let want = (chunk.len() as u64).min(count - at) as usize;
        let n = reader.read(&mut chunk[..want]).await?;
        if n == 0 {
            bail!("closed after {at} of {count} bytes");
        }
        if let Some(i) = (0..n).find(|&i| chunk[i] != pattern(at + i as u64)) {
            bail!("byte {} of {count} is wrong", at + i as u64);
        }
        at += n as u64;
    }
    Ok(())
}
