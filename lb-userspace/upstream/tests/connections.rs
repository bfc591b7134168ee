//! Connections: kept, found stale, cut, and never used again after an answer that cannot be trusted.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use http_body_util::BodyExt as _;
use lb_message::Body;
use lb_model::http::{HttpPool, Refusal};
use support::*;

#[test]
fn a_connection_is_used_again() {
    worker(async {
        let server = Server::named("one");
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        for _ in 0..20 {
            assert_eq!(world.text(get()).await, "one");
            assert_eq!(world.text(post("hello")).await, "one");
        }
        assert_eq!(server.connections.load(SeqCst), 1);
        assert_eq!(world.client.idle(), 1);
        assert!(server.request(0).starts_with("GET /a?b=c HTTP/1.1\r\nhost: a.test\r\n"), "{}", server.request(0));
        assert!(server.request(1).ends_with("\r\n\r\nhello"));
        let counts = &world.upstreams.counters()[0];
        let sent: usize = (0..40).map(|n| server.request(n).len()).sum();
        assert_eq!((counts.requests, counts.active, counts.bytes), (40, 0, sent as u64));
        assert_eq!(counts.statuses, [(200, 40)]);
    });
}

#[test]
fn a_stale_connection_costs_nobody_an_answer() {
    worker(async {
        // Every connection is closed after its second answer, unannounced.
        let server = Server::start(|n, _| if n % 2 == 0 { Reply::Keep(ok("a")) } else { Reply::Close(ok("b")) });
        let mut world = World::new(HttpPool::default(), vec![member(server.address)]);
        world.route.retry.attempts = 0;
        for n in 0..20 {
            let request = if n % 3 == 0 { post("x") } else { get() };
            world.text(request).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
}

#[test]
fn a_connection_that_closes_under_a_reused_request_is_replaced() {
    worker(async {
        // The second request on a connection is answered by the end: the race that no look can exclude.
        let server = Server::start(|n, _| if n == 1 { Reply::Close(String::new()) } else { Reply::Keep(ok("a")) });
        let mut world = World::new(HttpPool::default(), vec![member(server.address)]);
        world.route.retry.attempts = 0;
        assert_eq!(world.text(get()).await, "a");
        let answer = world.send(get()).await.expect("an answer over a new connection");
        assert_eq!(answer.retries, 0);
        assert_eq!(server.connections.load(SeqCst), 2);
        assert_eq!(server.count(), 3);
    });
}

#[test]
fn a_post_that_may_have_arrived_is_not_sent_twice() {
    worker(async {
        let server = Server::start(|n, _| if n == 1 { Reply::Close(String::new()) } else { Reply::Keep(ok("a")) });
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        assert_eq!(world.text(get()).await, "a");
        let failure = world.send(post("pay")).await.expect_err("no second try");
        assert_eq!(failure.refusal, Refusal::BackendClosed);
        assert_eq!(server.count(), 2);
    });
}

#[test]
fn answers_that_break_the_rules() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/9.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "<html>hello</html>",
    ];
    worker(async {
        for text in bad {
            let server = Server::start(move |_, _| Reply::Keep(text.to_owned()));
            let world = World::new(HttpPool::default(), vec![member(server.address)]);
            let failure = world.send(get()).await.expect_err(text);
            assert_eq!(failure.refusal, Refusal::BadResponse, "{text}");
            assert_eq!((world.client.idle(), world.active(), server.count()), (0, 0, 1), "{text}");
            until("closed", || server.closed.load(SeqCst) == 1).await;
        }
    });
}

#[test]
fn a_length_beside_chunks_is_taken_out_and_the_connection_closed() {
    worker(async {
        let server = Server::start(|_, _| {
            Reply::Keep(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                    .into(),
            )
        });
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        let answer = world.send(get()).await.expect("an answer");
        assert!(!answer.response.headers().contains_key("content-length"));
        assert_eq!(text(answer).await, "hello");
        until("closed", || server.closed.load(SeqCst) == 1).await;
        assert_eq!(world.client.idle(), 0);
    });
}

#[test]
fn surplus_bytes_discard_the_connection() {
    let surplus = [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nevil"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
    ];
    worker(async {
        for (method, text) in surplus {
            let server = Server::start(move |n, _| Reply::Keep(if n == 0 { text.to_owned() } else { ok("good") }));
            let world = World::new(HttpPool::default(), vec![member(server.address)]);
            let mut request = get();
            *request.method_mut() = method.parse().expect("a method");
            let first = world.text(request).await;
            assert!(first == "ok" || first.is_empty(), "{first}");
            assert_eq!(world.text(get()).await, "good", "{text}");
            assert_eq!(server.connections.load(SeqCst), 2, "{text}");
        }
    });
}

#[test]
fn old_answers_end_with_their_connection() {
    worker(async {
        let server = Server::start(|_, _| Reply::Close("HTTP/1.0 200 OK\r\n\r\nold".into()));
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        assert_eq!(world.text(get()).await, "old");
        assert_eq!(world.text(get()).await, "old");
        assert_eq!(world.client.idle(), 0);
    });
}

#[test]
fn a_truncated_body_is_an_error_and_not_an_end() {
    worker(async {
        for head in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"] {
            let server = Server::start(move |_, _| Reply::Close(format!("HTTP/1.1 200 OK\r\n{head}")));
            let world = World::new(HttpPool::default(), vec![member(server.address)]);
            let answer = world.send(get()).await.expect("a head");
            let error = answer.response.into_body().collect().await.expect_err("cut short");
            let refused = error.downcast_ref::<lb_upstream::BodyRefused>().expect("ours");
            assert_eq!(refused.refusal, Refusal::BackendClosed);
            assert_eq!(world.active(), 0);
        }
    });
}

#[test]
fn who_goes_away_takes_the_backends_request_along() {
    worker(async {
        let server = Server::start(|n, _| match n {
            0 => Reply::Hang,
            _ => Reply::Keep("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc".into()),
        });
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        let waiting = tokio::time::timeout(Duration::from_millis(50), world.send(get())).await;
        assert!(waiting.is_err());
        until("the first is closed", || server.closed.load(SeqCst) == 1).await;
        let answer = world.send(get()).await.expect("a head");
        assert_eq!(world.active(), 1);
        drop(answer);
        until("the second is closed", || server.closed.load(SeqCst) == 2).await;
        assert_eq!((world.active(), world.client.idle()), (0, 0));
    });
}

#[test]
fn who_is_silent_is_given_up() {
    worker(async {
        let server = Server::start(|n, _| match n {
            0 => Reply::Hang,
            _ => Reply::Keep("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".into()),
        });
        let mut world = World::new(HttpPool::default(), vec![member(server.address)]);
        world.route.timeouts.request = Duration::from_millis(100);
        world.route.timeouts.idle = Duration::from_millis(150);
        let start = tokio::time::Instant::now();
        let failure = world.send(get()).await.expect_err("too late");
        assert_eq!(failure.refusal, Refusal::BackendTimeout);
        assert!(start.elapsed() >= Duration::from_millis(100) && start.elapsed() < Duration::from_secs(2));
        let answer = world.send(get()).await.expect("a head");
        let error = answer.response.into_body().collect().await.expect_err("silent");
        assert_eq!(error.downcast_ref::<lb_upstream::BodyRefused>().expect("ours").refusal, Refusal::BackendTimeout);
        until("both are closed", || server.closed.load(SeqCst) == 2).await;
    });
}

#[test]
fn interim_answers_reach_the_callback_and_a_tunnel_holds_its_place() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    worker(async {
        let server = Server::start(|_, request| {
            if request.contains("upgrade: websocket") {
                Reply::After(
                    Duration::ZERO,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello".into(),
                )
            } else {
                Reply::Keep(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("late")))
            }
        });
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut request = get();
        let list = std::sync::Arc::clone(&seen);
        hyper::ext::on_informational(&mut request, move |r| {
            list.lock().expect("not poisoned").push(r.status().as_u16())
        });
        assert_eq!(world.text(request).await, "late");
        assert_eq!(*seen.lock().expect("not poisoned"), [103]);

        let mut request = get();
        request.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
        request.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
        let mut answer = world.send(request).await.expect("a tunnel");
        assert_eq!(answer.response.status(), 101);
        let place = answer.response.extensions().get::<lb_upstream::InFlight>().expect("a place").clone();
        let upgraded = hyper::upgrade::on(&mut answer.response).await.expect("upgraded");
        let mut io = hyper_util::rt::TokioIo::new(upgraded);
        let mut greeting = [0; 5];
        io.read_exact(&mut greeting).await.expect("bytes");
        assert_eq!(&greeting, b"hello");
        io.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
        drop(answer);
        assert_eq!(world.active(), 1);
        drop(place);
        assert_eq!(world.active(), 0);
    });
}

#[test]
fn a_body_that_fails_tells_why() {
    use http_body_util::StreamBody;
    worker(async {
        let server = Server::named("never");
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        let frames: Vec<Result<http_body::Frame<bytes::Bytes>, lb_message::BoxError>> = vec![
            Ok(http_body::Frame::data("some".into())),
            Err(Box::new(lb_upstream::BodyRefused { refusal: Refusal::BodyTooLarge })),
        ];
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let request = http::Request::post("/").header("host", "a").body(body).expect("a request");
        let failure = world.send(request).await.expect_err("a broken body");
        assert_eq!(failure.refusal, Refusal::BodyTooLarge);
        assert_eq!((world.active(), server.count()), (0, 0));
    });
}
