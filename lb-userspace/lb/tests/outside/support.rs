//! A daemon of our own for a test: its files, its backends, its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

pub(crate) const LB: &str = env!("CARGO_BIN_EXE_lb");
/// `nobody`, who may do nothing in particular.
const ORDINARY: u32 = 65_534;

/// Tries until it holds, for ten seconds at most.
#[expect(clippy::disallowed_methods, reason = "a bounded wait for another process")]
pub(crate) fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(found) = holds() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("it never came: {what}");
}

/// A TCP backend that greets with its name and then echoes.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    _stop: Stop,
}

struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Backend {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let name = format!("backend {}\n", address.port());
        let stop = Arc::new(AtomicBool::new(false));
        let (greeting, stopped) = (name.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let greeting = greeting.clone();
                std::thread::spawn(move || echo(stream, &greeting));
            }
        });
        Self { address, name, _stop: Stop(stop) }
    }
}

fn echo(mut stream: TcpStream, greeting: &str) {
    if stream.write_all(greeting.as_bytes()).is_err() {
        return;
    }
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// Connects and reads the greeting.
pub(crate) fn greet(address: SocketAddr) -> Option<(TcpStream, String)> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some((stream, line))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

/// A directory that the ordinary user may enter and write.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
        Self(dir)
    }
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("lb.sock")
    }
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
    /// A command of the CLI that speaks to this place's daemon.
    pub(crate) fn lb(&self, args: &[&str]) -> Output {
        Command::new(LB).args(args).env("LB_SOCKET", self.socket()).output().expect("lb runs")
    }
    /// The document it prints; the command must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.lb(&[args, &["--json"]].concat());
        assert!(out.status.success(), "lb {args:?}: {}", text(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("one JSON document")
    }
    /// Its exit status, with what it said on standard error.
    pub(crate) fn refusal(&self, args: &[&str]) -> (i32, String) {
        let out = self.lb(args);
        (out.status.code().expect("a status"), text(&out.stderr))
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `lb run`, ended with the test.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Runs, and waits until it answers.
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        Self::start_with(place, args, |_| {})
    }

    /// The same, with more said of how it is to run.
    pub(crate) fn start_with(place: &Place, args: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(LB);
        command.arg("run").args(args).env("LB_SOCKET", place.socket());
        more(&mut command);
        let daemon = Self::spawn(command);
        until("the daemon answers", || place.lb(&["status"]).status.success().then_some(()));
        daemon
    }

    /// As an ordinary user who has a home and nothing else.
    pub(crate) fn start_ordinary(place: &Place, args: &[&str]) -> Self {
        // Wherever the binary was built, the user may not be let in.
        let binary = place.path().join("lb");
        std::fs::copy(LB, &binary).expect("a copy of lb");
        let mut command = Command::new(binary);
        command.arg("run").args(args).env_clear().env("HOME", place.path()).env("LB_SOCKET", place.socket());
        command.current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        let daemon = Self::spawn(command);
        until("the daemon answers", || place.lb(&["status"]).status.success().then_some(()));
        daemon
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("lb runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().expect("a pipe"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let mut log = into.lock().expect("the log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    /// Waits for the end: the status and standard output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = until("the daemon ends", || self.child.try_wait().expect("waited"));
        let mut out = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("its output");
        (status.code(), out)
    }

    /// Waits for the end alone: another process may go on printing where this one did.
    pub(crate) fn status(mut self) -> Option<i32> {
        until("the daemon ends", || self.child.try_wait().expect("waited")).code()
    }

    pub(crate) fn terminate(self) -> (Option<i32>, String) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, or to be ended with the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
