//! Probes against real sockets on loopback, and the words they fail with.

use std::net::SocketAddr;
use std::time::Duration;

use lb_health::{Monitor, Target, probe};
use lb_model::{HealthCheck, HealthKind, Observation, StatusRange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

fn target(address: SocketAddr, kind: HealthKind) -> Target {
    let check = HealthCheck {
        kind,
        interval: Duration::from_millis(50),
        // Long enough for a busy machine; what is to time out says so.
        timeout: Duration::from_secs(5),
        rise: 2,
        fall: 2,
        jitter_percent: 10,
        port: None,
    };
    Target { address, check }
}

fn impatient(address: SocketAddr, kind: HealthKind) -> Target {
    let mut target = target(address, kind);
    target.check.timeout = Duration::from_millis(300);
    target
}

fn http(expect: &[(u16, u16)]) -> HealthKind {
    let expect = expect.iter().map(|&(first, last)| StatusRange { first, last }).collect();
    HealthKind::Http { path: "/healthz?x=1".into(), host: Some("web.example".into()), expect }
}

/// Answers every connection with `answer` after reading a request, and hands requests out.
async fn server(answer: &'static [u8]) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (out, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut s, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let n = s.read(&mut buffer).await.unwrap_or(0);
            let _ = out.send(String::from_utf8_lossy(&buffer[..n]).into_owned());
            let _ = s.write_all(answer).await;
        }
    });
    (address, requests)
}

async fn closed_port() -> SocketAddr {
    let l = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    l.local_addr().expect("an address")
}

#[tokio::test]
async fn tcp() {
    let open = TcpListener::bind("[::1]:0").await.expect("a port");
    let address = open.local_addr().expect("an address");
    assert_eq!(probe::run(&target(address, HealthKind::Tcp)).await, Ok(()));
    drop(open);
    assert_eq!(probe::run(&target(address, HealthKind::Tcp)).await, Err("connection refused".into()));
}

#[tokio::test]
async fn http_statuses_and_silence() {
    let (address, mut requests) = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(probe::run(&target(address, http(&[(200, 299)]))).await, Ok(()));
    let request = requests.recv().await.expect("a request");
    assert!(request.starts_with("GET /healthz?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: web.example\r\n"), "{request}");
    let got = probe::run(&target(address, http(&[(200, 200), (300, 399)]))).await;
    assert_eq!(got, Err("status 204, expected 200, 300-399".into()));

    let (address, _requests) = server(b"HTTP/1.0 503 Busy\r\n\r\n").await;
    assert_eq!(probe::run(&target(address, http(&[(200, 299)]))).await, Err("status 503, expected 200-299".into()));
    // A body that never ends does not matter.
    let (address, _requests) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx").await;
    assert_eq!(probe::run(&target(address, http(&[(200, 299)]))).await, Ok(()));
    let (address, _requests) = server(b"").await;
    assert_eq!(
        probe::run(&target(address, http(&[(200, 299)]))).await,
        Err("the connection was closed before an answer".into())
    );
    let (address, _requests) = server(b"SSH-2.0-OpenSSH\r\n").await;
    assert_eq!(probe::run(&target(address, http(&[(200, 299)]))).await, Err("the answer is not HTTP".into()));
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    assert_eq!(probe::run(&impatient(address, http(&[(200, 299)]))).await, Err("timed out after 300ms".into()));
    let got = probe::run(&target(closed_port().await, http(&[(200, 299)]))).await;
    assert_eq!(got, Err("connection refused".into()));
}

#[tokio::test]
async fn udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            if &buffer[..n] == b"ping" {
                let _ = socket.send_to(b"pong 1", from).await;
            }
        }
    });
    let kind = |send: &[u8], expect: Option<&[u8]>| HealthKind::Udp {
        send: send.to_vec(),
        expect: expect.map(<[u8]>::to_vec),
    };
    assert_eq!(probe::run(&target(address, kind(b"ping", Some(b"pong")))).await, Ok(()));
    assert_eq!(probe::run(&target(address, kind(b"ping", None))).await, Ok(()));
    assert_eq!(
        probe::run(&target(address, kind(b"ping", Some(b"\x01")))).await,
        Err("the answer begins with \"pong 1\", expected \"\\x01\"".into())
    );
    assert_eq!(probe::run(&impatient(address, kind(b"?", None))).await, Err("timed out after 300ms".into()));
    echo.abort();
    assert!(echo.await.is_err_and(|e| e.is_cancelled()), "the socket is closed");
    assert_eq!(probe::run(&target(address, kind(b"ping", None))).await, Err("connection refused".into()));
}

#[tokio::test]
async fn the_monitor_sees_a_server_die_and_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (out, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let monitor = Monitor::start(out, 1);
    monitor.watch(vec![target(address, HealthKind::Tcp).into()]);
    let mut next = async || {
        let report = tokio::time::timeout(Duration::from_secs(30), reports.recv()).await;
        report.expect("in time").expect("a report").observation
    };
    assert_eq!(next().await, Observation::Healthy);
    drop(listener);
    assert_eq!(next().await, Observation::Unhealthy("connection refused".into()));
    let _again = TcpListener::bind(address).await.expect("the same port");
    assert_eq!(next().await, Observation::Healthy);
}
