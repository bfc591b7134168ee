//! A stand for the userspace engine: services on loopback, backends that are threads of the test.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part of the stand")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use lb_dataplane::user::UserPlane;
use lb_dataplane::{Change, Condition, DataPlane, Member, PlanePool};
use lb_model::{Algorithm, BackendAddress, BackendId, Host, Listen, Name, PortRange, Protocol, Service, Weight};

pub const V4: &str = "127.0.0.1";
pub const V6: &str = "::1";

/// An engine with one service `s` on pool `p`.
pub struct Stand {
    pub plane: Box<UserPlane>,
    pub vip: SocketAddr,
    pub service: Service,
    pub pool: PlanePool,
}

pub fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

/// A port that is free now for TCP and UDP.
pub fn free_port(ip: &str) -> u16 {
    let ip: IpAddr = ip.parse().expect("an address");
    let next = || {
        let tcp = TcpListener::bind((ip, 0)).ok()?;
        let port = tcp.local_addr().ok()?.port();
        UdpSocket::bind((ip, port)).ok().map(|_| port)
    };
    std::iter::repeat_with(next).take(50).flatten().next().expect("a free port")
}

pub fn member(address: SocketAddr) -> Member {
    Member {
        configured: BackendAddress::from(address),
        ip: address.ip(),
        port: Some(address.port()),
        weight: Weight::ONE,
        eligible: true,
        condition: Condition::Up,
    }
}

impl Stand {
    pub fn new(protocol: Protocol, ip: &str, algorithm: Algorithm, backends: &[SocketAddr]) -> Self {
        Self::with(protocol, ip, algorithm, backends, |_| {})
    }

    pub fn with(
        protocol: Protocol,
        ip: &str,
        algorithm: Algorithm,
        backends: &[SocketAddr],
        edit: impl FnOnce(&mut Service),
    ) -> Self {
        let port = free_port(ip);
        let address: IpAddr = ip.parse().expect("an address");
        let listen = Listen { address, ports: PortRange::single(port).expect("a port"), protocol };
        let mut service = Service::new(name("s"), listen, name("p"));
        edit(&mut service);
        let members = backends.iter().copied().map(member).collect();
        let pool = PlanePool { name: name("p"), algorithm, maglev_table_size: 2039, members };
        let host = Host { flow_table_size: 10_000, ..Host::default() };
        let mut plane = Box::new(UserPlane::with_workers(&host, 2).expect("the engine starts"));
        plane
            .apply(&[Change::PutPool(pool.clone()), Change::PutService(service.clone())])
            .expect("pool and service are put");
        Self { plane, vip: SocketAddr::new(address, port), service, pool }
    }

    /// Changes the pool's members.
    pub fn members(&mut self, edit: impl FnOnce(&mut Vec<Member>)) {
        edit(&mut self.pool.members);
        self.plane.apply(&[Change::PutPool(self.pool.clone())]).expect("the pool is put");
    }

    pub fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.vip).expect("the service accepts"))
    }

    pub fn dropped(&self, reason: lb_common::reason::Reason) -> u64 {
        self.plane.counters().services[&name("s")].dropped.get(&reason).copied().unwrap_or(0)
    }

    pub fn active(&self) -> u64 {
        self.plane.counters().services[&name("s")].active_flows
    }

    pub fn backend(&self, address: SocketAddr) -> lb_dataplane::BackendCounters {
        let id = BackendId { pool: name("p"), address: address.into() };
        self.plane.counters().backends.get(&id).cloned().unwrap_or_default()
    }
}

/// Reads and writes give up after a while instead of hanging the suite.
pub fn patient(s: TcpStream) -> TcpStream {
    s.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    s.set_write_timeout(Some(Duration::from_secs(10))).expect("an option");
    s
}

/// Waits until `what` holds, ten seconds at most.
pub fn eventually(why: &str, what: impl FnMut() -> bool) {
    assert!(within(Duration::from_secs(10), what), "{why}");
}

#[expect(clippy::disallowed_methods, reason = "a test's edge")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a bounded wait for a condition")]
pub fn within(limit: Duration, mut what: impl FnMut() -> bool) -> bool {
    let end = now() + limit;
    loop {
        if what() {
            return true;
        }
        if now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A TCP backend: every connection is given to `serve` in a thread of its own.
pub struct Backend {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicU64>,
}

pub fn backend(ip: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
    let listener = TcpListener::bind((ip, 0)).expect("a backend listens");
    let address = listener.local_addr().expect("its address");
    let accepted = Arc::new(AtomicU64::new(0));
    let (count, serve) = (accepted.clone(), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, SeqCst);
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    Backend { address, accepted }
}

/// Sends back what it reads, until the end, which it passes back too.
pub fn echo(ip: &str) -> Backend {
    backend(ip, |mut s| {
        let mut buffer = vec![0; 65_536];
        while let Ok(n) = s.read(&mut buffer) {
            if n == 0 || s.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    })
}

/// Says its port to every client and waits for the client to end.
pub fn named(ip: &str) -> Backend {
    backend(ip, |mut s| {
        let port = s.local_addr().map_or(0, |a| a.port());
        let _gone = s.write_all(&port.to_be_bytes());
        let _gone = s.read_to_end(&mut Vec::new());
    })
}

/// Which of the `named` backends a connection reached.
pub fn name_of(s: &mut TcpStream) -> std::io::Result<u16> {
    let mut port = [0; 2];
    s.read_exact(&mut port).map(|()| u16::from_be_bytes(port))
}

/// A UDP backend that answers every datagram with its own port and the datagram.
pub fn udp_named(ip: &str) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).expect("a backend's socket");
    let address = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let mut answer = address.port().to_be_bytes().to_vec();
            answer.extend(&buffer[..n]);
            let _gone = socket.send_to(&answer[..answer.len().min(65_507)], from);
        }
    });
    address
}

pub fn udp_client(vip: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((if vip.is_ipv4() { V4 } else { V6 }, 0)).expect("a client's socket");
    socket.connect(vip).expect("a connected socket");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
    socket
}

/// Sends and waits for the answer: the backend's port and what came back. Only datagrams from the VIP arrive.
pub fn ask(socket: &UdpSocket, what: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    socket.send(what)?;
    let mut buffer = vec![0; 65_536];
    let n = socket.recv(&mut buffer)?;
    Ok((u16::from_be_bytes([buffer[0], buffer[1]]), buffer[2..n].to_vec()))
}
