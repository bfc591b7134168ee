//! A daemon that the command which starts it does not wait for: `lb run --takeover` returns once it serves.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print;

/// Set for the process that is to be the daemon; its standard input is the line to the one that waits.
const MARK: &str = "LB_DETACHED";

#[derive(serde::Serialize)]
struct Serving {
    pid: u32,
}

/// Starts the same command again, in a session of its own, and waits until it serves or ends.
pub(super) fn start(global: &Global) -> Outcome {
    let start = || {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).env(MARK, "1").stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        // With the command goes this process's copy of the child's end.
        drop(command);
        Ok::<_, io::Error>((ours, child))
    };
    let (mut line, mut child) = start().context("the new lb cannot be started").map_err(Failure::Refused)?;
    let mut byte = [0; 1];
    if line.read_exact(&mut byte).is_ok() {
        let pid = child.id();
        return print::either(global.json, &Serving { pid }, |s| format!("lb serves as process {}\n", s.pid));
    }
    let status = child.wait().context("the new lb is lost").map_err(Failure::Refused)?;
    // It has said why itself.
    Err(Failure::Ended(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}

/// This process's line to the one that waits for it, if it was started so.
#[derive(Debug)]
pub(super) struct Line(UnixStream);

impl Line {
    pub(super) fn take() -> Option<io::Result<Self>> {
        std::env::var_os(MARK)?;
        Some(Self::open())
    }

    fn open() -> io::Result<Self> {
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        // A session of its own: a terminal's Ctrl-C is for the command that has returned.
        nix::unistd::setsid()?;
        Ok(Self(line))
    }

    pub(super) fn serves(mut self) {
        // Nobody waits any more.
        let _ = self.0.write_all(b".");
    }
}
