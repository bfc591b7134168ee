//! Certificates ordered from a real authority (serles-acme): issued both ways, renewed, refused.

#[path = "../../../tests/src/authority.rs"]
#[allow(unreachable_pub, reason = "it is public in its own package")]
mod authority;
mod wire;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use authority::Authority;
use lb_certs::{Challenges, ServerTls, View, acme};
use lb_model::http::{AcmeAccount, Certificate, CertificateSource, Listener};
use wire::{listener, shake, upstream};

const BOUND: Duration = Duration::from_secs(40);

struct Ordered {
    state: tempfile::TempDir,
    challenges: Arc<Challenges>,
    listeners: Vec<Listener>,
    tls: Arc<ServerTls>,
}

impl Ordered {
    /// A TLS listener with one certificate from `authority`, and perhaps one in clear text.
    fn new(account: AcmeAccount, names: &[&str], clear: bool) -> Self {
        Self::answering(Arc::default(), account, names, clear)
    }

    fn answering(challenges: Arc<Challenges>, account: AcmeAccount, names: &[&str], clear: bool) -> Self {
        let state = tempfile::tempdir().expect("folder");
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        let mut listeners = vec![listener(vec![Certificate { names, source: CertificateSource::Acme(account) }])];
        if clear {
            listeners.push(listener(Vec::new()));
        }
        let tls = ServerTls::load(&listeners[0], state.path(), &challenges).expect("loads");
        Self { state, challenges, listeners, tls }
    }

    fn view(&self) -> View {
        self.tls.poll(now());
        self.tls.certificates().remove(0)
    }

    async fn until(&self, what: &str, holds: impl Fn(&View) -> bool) -> View {
        let waited = tokio::time::timeout(BOUND, async {
            loop {
                let view = self.view();
                if holds(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}: {:?}", self.view()))
    }

    fn start(&self) -> acme::Acme {
        let started = acme::start(&tokio::runtime::Handle::current(), self.state.path(), &self.challenges);
        started.set(self.listeners.iter());
        started
    }
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the authority's certificates are valid now")]
    SystemTime::now()
}

fn account(directory: String, ca: Option<&Path>) -> AcmeAccount {
    AcmeAccount { directory, email: Some("a@example.com".to_owned()), ca: ca.map(Path::to_owned) }
}

/// As the gateway's clear-text listeners do.
fn answer_http(challenges: &Arc<Challenges>) -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let challenges = Arc::clone(challenges);
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let mut connection = connection.expect("accepted");
            let mut line = String::new();
            BufReader::new(&connection).read_line(&mut line).expect("a request");
            let token = line.split(' ').nth(1).and_then(|p| p.strip_prefix("/.well-known/acme-challenge/"));
            let answer = match token.and_then(|t| challenges.http(t)) {
                Some(body) => format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                None => "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
            };
            connection.write_all(answer.as_bytes()).expect("sent");
        }
    });
    port
}

/// As the gateway's TLS listeners do: a handshake, then nothing.
fn answer_tls(config: impl Fn() -> Arc<rustls::ServerConfig> + Send + 'static) -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let mut connection = connection.expect("accepted");
            let mut server = rustls::ServerConnection::new(config()).expect("server");
            while server.is_handshaking() && server.complete_io(&mut connection).is_ok() {}
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issued_by_http_01_kept_and_served() {
    let challenges = Arc::new(Challenges::default());
    let http = answer_http(&challenges);
    let authority = Authority::start(http, 1, 3600);
    let names = &["a.example.com", "b.example.com"];
    let o = Ordered::answering(challenges, account(authority.directory(), Some(&authority.ca())), names, true);
    let view = o.view();
    assert_eq!((view.source, view.path), ("acme", None));
    assert!(view.error.is_some_and(|e| e.contains("self-signed")), "until then");
    assert!(o.tls.covers("a.example.com"), "the stand-in is for the same names");

    let running = o.start();
    let view = o.until("issued", |v| v.issuer.as_deref() == Some("serles test root")).await;
    assert_eq!(view.error, None, "{}", authority.log());
    assert_eq!(view.names, ["a.example.com", "b.example.com"]);
    let path = view.path.expect("kept");
    let client = lb_certs::client::config(&upstream(Some(&authority.ca())), &[]).expect("client");
    for name in ["a.example.com", "b.example.com"] {
        shake(&client, &o.tls.config(), name).expect("believed by whoever believes the authority");
    }
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
    drop(running);
    let issued = std::fs::read(&path).expect("there");

    // A restart finds it, and orders nothing while it is young.
    let again = ServerTls::load(&o.listeners[0], o.state.path(), &o.challenges).expect("loads");
    assert_eq!(again.certificates()[0].error, None);
    let _running = o.start();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(std::fs::read(&path).expect("there"), issued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issued_by_tls_alpn_01_and_renewed_at_two_thirds() {
    // The port must be known to the authority before the listener has its certificate: it asks through a cell.
    let cell: Arc<std::sync::OnceLock<Arc<ServerTls>>> = Arc::default();
    let asked = Arc::clone(&cell);
    let port = answer_tls(move || asked.get().expect("set before orders begin").config());
    let authority = Authority::start(1, port, 9);
    let o = Ordered::new(account(authority.directory(), Some(&authority.ca())), &["a.example.com"], false);
    cell.set(Arc::clone(&o.tls)).expect("once");
    let _running = o.start();
    let first = o.until("issued", |v| v.issuer.as_deref() == Some("serles test root") && v.error.is_none()).await;
    let second = o.until("renewed", |v| v.not_after != first.not_after && v.error.is_none()).await;
    assert!(second.not_after > first.not_after);
    assert!(o.state.path().join("acme").read_dir().expect("folder").count() == 2, "one account, one certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_shown_in_words() {
    let authority = Authority::start(1, 1, 3600);
    let trusted = account(authority.directory(), Some(&authority.ca()));
    let refused = |o: Ordered| async move {
        let _running = o.start();
        o.until("refused", |v| v.error.as_ref().is_some_and(|e| e.contains("not issued: "))).await.error.expect("some")
    };
    let unreachable = refused(Ordered::new(trusted.clone(), &["a.example.com"], true)).await;
    assert!(unreachable.contains("a.example.com"), "{unreachable}");
    let stranger = refused(Ordered::new(account(authority.directory(), None), &["a.example.com"], true)).await;
    assert!(stranger.contains("UnknownIssuer") || stranger.contains("root certificates"), "{stranger}");
    let clear = account(authority.directory().replace("https", "http"), None);
    let clear = refused(Ordered::new(clear, &["a.example.com"], true)).await;
    assert!(clear.contains("http"), "{clear}");

    let wild = listener(vec![Certificate { names: vec!["*.a.test".into()], source: CertificateSource::Acme(trusted) }]);
    let state = tempfile::tempdir().expect("folder");
    let faults = ServerTls::load(&wild, state.path(), &Arc::default()).expect_err("refused");
    assert!(faults[0].contains("dns-01"), "{faults:?}");
}
