//! Tunnels over pipes in memory, under a clock that stands still.

use super::*;
use tokio::io::{DuplexStream, duplex};

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

struct Lab {
    client: DuplexStream,
    backend: DuplexStream,
    cancel: CancellationToken,
    tunnel: tokio::task::JoinHandle<Tunnelled>,
}

fn lab(websocket: bool, idle: u64) -> Lab {
    let (client, ours) = duplex(64);
    let (theirs, backend) = duplex(64);
    let cancel = CancellationToken::new();
    let rules = TunnelRules { idle: Duration::from_secs(idle), websocket, cancel: cancel.clone() };
    let tunnel = tokio::spawn(async move { tunnel(ours, theirs, &rules).await });
    Lab { client, backend, cancel, tunnel }
}

async fn all(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("read");
    bytes
}

async fn some(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.expect("read");
    bytes
}

#[test]
fn bytes_pass_both_ways_and_half_closes_are_kept() {
    run(async {
        let mut lab = lab(false, 60);
        let long = vec![b'x'; 100_000];
        let (sent, got) = tokio::join!(
            async {
                lab.client.write_all(&long).await.expect("written");
                lab.client.shutdown().await.expect("shut down");
            },
            all(&mut lab.backend)
        );
        let () = sent;
        assert_eq!(got, long);
        // The client is done sending, and still hears.
        lab.backend.write_all(b"answer").await.expect("written");
        drop(lab.backend);
        assert_eq!(all(&mut lab.client).await, b"answer");
        let done = lab.tunnel.await.expect("done");
        assert_eq!(done, Tunnelled { to_backend: 100_000, to_client: 6, end: TunnelEnd::Closed });
    });
}

#[test]
fn silence_ends_it() {
    run(async {
        let mut lab = lab(false, 60);
        let start = Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            lab.backend.write_all(b"x").await.expect("written");
            some(&mut lab.client, 1).await;
        }
        let done = lab.tunnel.await.expect("done");
        assert_eq!((done.end, done.to_client), (TunnelEnd::Idle, 3));
        assert_eq!(start.elapsed().as_secs(), 210);
    });
}

#[test]
fn without_a_bound_silence_is_no_end() {
    run(async {
        let mut lab = lab(false, 0);
        tokio::time::sleep(Duration::from_secs(1_000_000)).await;
        lab.client.write_all(b"x").await.expect("written");
        assert_eq!(some(&mut lab.backend, 1).await, b"x");
    });
}

#[test]
fn a_side_that_breaks_off_ends_it() {
    run(async {
        let mut lab = lab(false, 60);
        drop(lab.backend);
        // Half-closed first; the break shows when something is sent.
        assert_eq!(all(&mut lab.client).await, b"");
        lab.client.write_all(b"x").await.expect("written");
        assert_eq!(lab.tunnel.await.expect("done").end, TunnelEnd::Broken);
    });
}

#[test]
fn a_cancelled_tunnel_is_closed() {
    run(async {
        let mut lab = lab(false, 60);
        lab.cancel.cancel();
        assert_eq!(all(&mut lab.client).await, b"");
        assert_eq!(all(&mut lab.backend).await, b"");
        assert_eq!(lab.tunnel.await.expect("done").end, TunnelEnd::Cancelled);
    });
}

/// What a backend gets, without mask.
fn unmasked(bytes: &[u8]) -> [u8; 2] {
    assert_eq!(&bytes[..2], [0x88, 0x82]);
    [bytes[6] ^ bytes[2], bytes[7] ^ bytes[3]]
}

#[test]
fn a_cancelled_websocket_hears_why() {
    run(async {
        let mut lab = lab(true, 60);
        lab.backend.write_all(b"\x81\x02hi").await.expect("written");
        assert_eq!(some(&mut lab.client, 4).await, b"\x81\x02hi");
        lab.cancel.cancel();
        assert_eq!(all(&mut lab.client).await, going_away(None));
        assert_eq!(unmasked(&all(&mut lab.backend).await), 1001u16.to_be_bytes());
        drop(lab.client);
        assert_eq!(lab.tunnel.await.expect("done").end, TunnelEnd::Cancelled);
    });
}

#[test]
fn a_frame_under_way_is_finished_first() {
    run(async {
        let mut lab = lab(true, 60);
        lab.backend.write_all(b"\x81\x05he").await.expect("written");
        assert_eq!(some(&mut lab.client, 4).await, b"\x81\x05he");
        lab.cancel.cancel();
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The rest comes, and the beginning of another frame, which does not go on.
        lab.backend.write_all(b"llo\x81\x02").await.expect("written");
        assert_eq!(all(&mut lab.client).await, [b"llo".to_vec(), going_away(None)].concat());
    });
}

#[test]
fn who_does_not_finish_a_frame_is_cut_off() {
    run(async {
        let mut lab = lab(true, 60);
        lab.backend.write_all(b"\x81\x05he").await.expect("written");
        assert_eq!(some(&mut lab.client, 4).await, b"\x81\x05he");
        let start = Instant::now();
        lab.cancel.cancel();
        assert_eq!(lab.tunnel.await.expect("done").end, TunnelEnd::Cancelled);
        assert_eq!(start.elapsed(), FAREWELL);
    });
}

#[test]
fn after_a_close_frame_comes_no_other() {
    run(async {
        let mut lab = lab(true, 60);
        lab.backend.write_all(&going_away(None)).await.expect("written");
        assert_eq!(some(&mut lab.client, 4).await, going_away(None));
        lab.cancel.cancel();
        assert_eq!(all(&mut lab.client).await, b"");
    });
}
