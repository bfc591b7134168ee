//! A client that sends exactly the bytes it is given and reads HTTP/1 answers one by one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::ClientConfig;

use super::answer::Answer;
use super::parse::{self, Body};
use super::stream::{Read1, Stream};
use crate::clock;

/// How long an answer may take, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

#[derive(Debug)]
pub struct Client {
    pub stream: Stream,
    buffer: Vec<u8>,
    pub patience: Duration,
}

impl Client {
    /// # Errors
    /// If nobody listens there.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        Ok(Self::over(Stream::connect(to)?))
    }

    /// # Errors
    /// If the handshake fails.
    pub fn tls(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        Ok(Self::over(Stream::connect_tls(to, name, config)?))
    }

    #[must_use]
    pub fn over(stream: Stream) -> Self {
        Self { stream, buffer: Vec::new(), patience: PATIENCE }
    }

    /// # Errors
    /// If the other side has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.stream.send(bytes.as_ref())?)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Answer> {
        let request = request.as_ref();
        // A refusal may come, and the connection go, before all of it is sent.
        let sent = self.stream.send(request);
        match self.answer(request.starts_with(b"HEAD ")) {
            Ok(answer) => Ok(answer),
            Err(e) => Err(sent.err().map_or(e, Into::into)),
        }
    }

    /// Reads the next final answer; `to_head` if it answers HEAD.
    ///
    /// # Errors
    /// If none comes in time, or what comes is no answer.
    pub fn answer(&mut self, to_head: bool) -> Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.head()?;
            if answer.status / 100 == 1 && answer.status != 101 {
                interim.push(answer);
                continue;
            }
            answer.interim = interim;
            if !to_head && !matches!(answer.status, 101 | 204 | 304) {
                self.body(&mut answer)?;
            }
            return Ok(answer);
        }
    }

    /// Reads the next head alone, final or not.
    ///
    /// # Errors
    /// As [`Client::answer`].
    pub fn head(&mut self) -> Result<Answer> {
        let end = loop {
            if let Some(end) = parse::head_end(&self.buffer) {
                break end;
            }
            match self.more()? {
                Read1::Bytes(_) => {}
                other => bail!("no answer ({other:?}): {:?}", String::from_utf8_lossy(&self.buffer)),
            }
        };
        let taken: Vec<u8> = self.buffer.drain(..end).collect();
        let (line, fields) = parse::head(&taken)?;
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|s| s.parse().ok()).with_context(|| format!("no status line: {line:?}"))?;
        Ok(Answer { version, status, fields, ..Answer::default() })
    }

    fn more(&mut self) -> Result<Read1> {
        self.stream.read_by(clock::now() + self.patience, &mut self.buffer)
    }

    fn body(&mut self, answer: &mut Answer) -> Result<()> {
        let chunked = answer.field("transfer-encoding").is_some();
        let length = answer.field("content-length").map(str::parse::<usize>).transpose()?;
        loop {
            if chunked && let Body::Whole(body, trailers, taken) = parse::chunked(&self.buffer)? {
                self.buffer.drain(..taken);
                (answer.body, answer.trailers) = (body, trailers);
                return Ok(());
            }
            if let Some(length) = length.filter(|n| !chunked && *n <= self.buffer.len()) {
                answer.body = self.buffer.drain(..length).collect();
                return Ok(());
            }
            match self.more()? {
                Read1::Bytes(_) => {}
                Read1::Late => bail!("the body of {} does not end", answer.status),
                end => {
                    answer.cut = chunked || length.is_some() || end == Read1::Reset;
                    answer.body = std::mem::take(&mut self.buffer);
                    return Ok(());
                }
            }
        }
    }

    /// Reads until something has come or `within` is over, and gives all that is unread.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn some(&mut self, within: Duration) -> Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.stream.read_by(clock::now() + within, &mut self.buffer)?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Waits for the other side to end the connection and gives what it still sent.
    ///
    /// # Errors
    /// If it does not within `within`.
    pub fn ended(&mut self, within: Duration) -> Result<(End, Vec<u8>)> {
        let by = clock::now() + within;
        loop {
            let end = match self.stream.read_by(by, &mut self.buffer)? {
                Read1::Bytes(_) => continue,
                Read1::Late => {
                    bail!("still open after {within:?}, got {:?}", String::from_utf8_lossy(&self.buffer))
                }
                Read1::End => End::Closed,
                Read1::Reset => End::Reset,
            };
            return Ok((end, std::mem::take(&mut self.buffer)));
        }
    }

    /// Nothing comes and nothing ends for that long.
    ///
    /// # Errors
    /// If something does.
    pub fn stays_quiet(&mut self, time: Duration) -> Result<()> {
        match self.stream.read_by(clock::now() + time, &mut self.buffer)? {
            Read1::Late => Ok(()),
            other => bail!("{other:?}: {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }
}
