//! TCP through the userspace engine over loopback: bytes intact, ends and resets passed on.

mod stand;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use lb_dataplane::DataPlane;
use lb_model::{Algorithm, Protocol, SendProxy};
use stand::{Stand, V4, V6, backend, echo, eventually, patient};

/// Reproducible bytes without a period that a lost block could hide in.
fn noise(n: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_u32 ^ n as u32;
    let step = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    std::iter::repeat_with(step).take(n).collect()
}

fn echoes(ip: &str, n: usize) {
    let b = echo(ip);
    let stand = Stand::new(Protocol::Tcp, ip, Algorithm::Maglev, &[b.address]);
    let mut client = stand.connect();
    let sent = noise(n);
    let (mut writer, copy) = (client.try_clone().expect("a clone"), sent.clone());
    let write = std::thread::spawn(move || {
        writer.write_all(&copy).expect("all is taken");
        writer.shutdown(Shutdown::Write).expect("the end is sent");
    });
    let mut got = Vec::with_capacity(n);
    client.read_to_end(&mut got).expect("all comes back, then the end");
    write.join().expect("the writer");
    assert!(got == sent, "{n} bytes over {ip}: {} came back", got.len());
    eventually("the connection ends", || stand.active() == 0);
    let counted = stand.backend(b.address);
    assert_eq!(counted.flows_total, 1);
    assert!(counted.bytes >= n as u64 && counted.packets >= 1, "{counted:?}");
}

#[test]
fn bodies_come_back_intact_over_ipv4() {
    for n in [1, 2, 1000, 32_767, 32_768, 32_769, 100_000, 1 << 20, 64 << 20] {
        echoes(V4, n);
    }
}

#[test]
fn bodies_come_back_intact_over_ipv6() {
    for n in [1, 40_000, 5_000_000] {
        echoes(V6, n);
    }
}

#[test]
fn a_service_of_one_family_reaches_backends_of_the_other() {
    let b = echo(V6);
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::RoundRobin, &[b.address]);
    let mut client = stand.connect();
    client.write_all(b"across").expect("sent");
    let mut got = [0; 6];
    client.read_exact(&mut got).expect("echoed");
    assert_eq!(&got, b"across");
}

/// Uneven writes in both directions at once, with a reader that pauses: back-pressure, not loss.
#[test]
fn both_directions_at_once_under_back_pressure() {
    let n = 8 << 20;
    let b = backend(V4, move |s| {
        let mut writer = s.try_clone().expect("a clone");
        let write = std::thread::spawn(move || {
            for chunk in noise(n).chunks(70_001) {
                writer.write_all(chunk).expect("the client takes it");
            }
            writer.shutdown(Shutdown::Write).expect("the end");
        });
        let mut got = Vec::new();
        (&s).read_to_end(&mut got).expect("the client's bytes");
        assert_eq!(got.len(), n);
        write.join().expect("the writer");
    });
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let client = stand.connect();
    let mut writer = client.try_clone().expect("a clone");
    let write = std::thread::spawn(move || {
        for chunk in noise(n).chunks(1_777) {
            writer.write_all(chunk).expect("the backend takes it");
        }
        writer.shutdown(Shutdown::Write).expect("the end");
    });
    // Nothing is read until the balancer cannot take more from the backend.
    let flowing = || stand.plane.flows(&lb_dataplane::FlowQuery::default()).iter().map(|f| f.bytes).sum::<u64>();
    eventually("something flows", || flowing() > 0);
    let mut got = Vec::with_capacity(n);
    (&client).read_to_end(&mut got).expect("the backend's bytes");
    assert!(got == noise(n));
    write.join().expect("the writer");
}

#[test]
fn the_clients_end_reaches_the_backend_and_answers_still_come() {
    let (tell, told) = channel();
    let b = backend(V4, move |mut s| {
        let mut got = Vec::new();
        s.read_to_end(&mut got).expect("until the client's end");
        tell.send(got.clone()).expect("the test listens");
        s.write_all(&got).expect("the client still reads");
    });
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut client = stand.connect();
    client.write_all(b"question").expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(told.recv_timeout(Duration::from_secs(10)).expect("the end arrived"), b"question");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("the answer");
    assert_eq!(got, b"question");
}

#[test]
fn the_backends_end_reaches_the_client_and_the_client_still_speaks() {
    let (tell, told) = channel();
    let b = backend(V4, move |mut s| {
        s.write_all(b"bye").expect("sent");
        s.shutdown(Shutdown::Write).expect("half closed");
        let mut got = Vec::new();
        s.read_to_end(&mut got).expect("until the client's end");
        tell.send(got).expect("the test listens");
    });
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut client = stand.connect();
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("the backend's end");
    assert_eq!(got, b"bye");
    eventually("shown as half-closed", || {
        stand.plane.flows(&lb_dataplane::FlowQuery::default()).iter().any(|f| f.state == "half-closed")
    });
    client.write_all(b"one more thing").expect("still open this way");
    drop(client);
    assert_eq!(told.recv_timeout(Duration::from_secs(10)).expect("arrived"), b"one more thing");
}

fn reset(s: TcpStream) {
    socket2::SockRef::from(&s).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(s);
}

#[test]
fn a_backends_reset_reaches_the_client() {
    let b = backend(V4, |mut s| {
        let mut one = [0; 1];
        s.read_exact(&mut one).expect("one byte");
        reset(s);
    });
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut client = stand.connect();
    client.write_all(b"x").expect("sent");
    let e = client.read(&mut [0; 10]).expect_err("a reset, not an end");
    assert_eq!(e.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_clients_reset_reaches_the_backend() {
    for half_closed in [false, true] {
        let (tell, told) = channel();
        let b = backend(V4, move |s| {
            let mut s = patient(s);
            let mut one = [0; 1];
            s.read_exact(&mut one).expect("one byte");
            let mut outcome = s.read(&mut one);
            if half_closed {
                assert_eq!(outcome.expect("the client's end"), 0);
                // The reset is seen when the socket is asked for its error or written to.
                eventually("an error", || !matches!(s.take_error(), Ok(None)));
                outcome = Err(ErrorKind::ConnectionReset.into());
            }
            tell.send(outcome.map_err(|e| e.kind())).expect("the test listens");
        });
        let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
        let mut client = stand.connect();
        client.write_all(b"x").expect("sent");
        if half_closed {
            client.shutdown(Shutdown::Write).expect("half closed");
            let flows = || stand.plane.flows(&lb_dataplane::FlowQuery::default());
            eventually("the balancer knows", || flows().iter().any(|f| f.state == "half-closed"));
        } else {
            eventually("the backend was reached", || stand.active() == 1);
        }
        reset(client);
        let outcome = told.recv_timeout(Duration::from_secs(10)).expect("the backend hears of it");
        assert_eq!(outcome, Err(ErrorKind::ConnectionReset), "half closed: {half_closed}");
        eventually("nothing is left", || stand.active() == 0);
    }
}

#[test]
fn the_proxy_header_precedes_the_clients_bytes() {
    for version in [SendProxy::V1, SendProxy::V2] {
        let (tell, told) = channel();
        let b = backend(V4, move |mut s| {
            let mut got = Vec::new();
            s.read_to_end(&mut got).expect("all");
            tell.send(got).expect("the test listens");
        });
        let stand = Stand::with(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address], |s| s.send_proxy = Some(version));
        let mut client = stand.connect();
        let (from, to) = (client.local_addr().expect("an address").port(), stand.vip.port());
        client.write_all(b"hello").expect("sent");
        drop(client);
        let got = told.recv_timeout(Duration::from_secs(10)).expect("arrived");
        let want = match version {
            SendProxy::V1 => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\nhello").into_bytes(),
            SendProxy::V2 => {
                let mut w = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
                w.extend(from.to_be_bytes());
                w.extend(to.to_be_bytes());
                w.extend(b"hello");
                w
            }
        };
        assert_eq!(got, want);
    }
}

#[test]
fn counts_are_layer_three() {
    let b = echo(V4);
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut client = stand.connect();
    for _ in 0..10 {
        client.write_all(&[7; 100]).expect("sent");
        client.read_exact(&mut [0; 100]).expect("echoed");
    }
    drop(client);
    eventually("the connection ends", || stand.active() == 0);
    let c = stand.backend(b.address);
    // Ten segments of data, a few of acknowledgement and the end; each with 40 to 60 bytes of headers.
    assert!((10..40).contains(&c.packets), "{c:?}");
    assert!(c.bytes >= 1000 + 40 * c.packets && c.bytes <= 1000 + 60 * c.packets, "{c:?}");
}
