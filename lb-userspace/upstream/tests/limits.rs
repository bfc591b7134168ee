//! Places, queues, ejection, drains.

mod support;

use std::time::Duration;

use lb_model::http::{HttpAlgorithm, HttpPool, Outlier, Queue, Refusal};
use lb_upstream::plan::{MemberPlan, MemberState};
use support::*;

fn limited(size: u32, timeout: Duration) -> HttpPool {
    HttpPool { max_requests: 1, queue: Queue { size, timeout }, ..HttpPool::default() }
}

fn slow(ms: u64) -> Server {
    Server::start(move |_, _| Reply::After(Duration::from_millis(ms), ok("slow")))
}

#[test]
fn a_full_backend_is_passed_over_and_a_full_pool_refuses() {
    worker(async {
        let servers = [slow(150), slow(150)];
        let world = World::new(limited(0, Duration::ZERO), servers.iter().map(|s| member(s.address)).collect());
        let (a, b, c) = tokio::join!(world.send(get()), world.send(get()), world.send(get()));
        let (a, b) = (a.expect("an answer"), b.expect("an answer"));
        assert_ne!(a.backend, b.backend);
        let failure = c.expect_err("no room");
        assert_eq!((failure.refusal, failure.retry_after), (Refusal::QueueFull, Some(1)));
        drop((a, b));
        assert_eq!(world.active(), 0);
    });
}

#[test]
fn a_queue_is_bounded_in_order_and_in_time() {
    worker(async {
        let server = slow(100);
        let world = World::new(limited(2, Duration::from_secs(2)), vec![member(server.address)]);
        let order = std::cell::RefCell::new(Vec::new());
        let one = async |n: u32| {
            let result = match world.send(get()).await {
                Ok(answer) => Ok(text(answer).await),
                Err(failure) => Err(failure.refusal),
            };
            order.borrow_mut().push((n, result.err()));
        };
        tokio::join!(one(0), one(1), one(2), one(3));
        assert_eq!(*order.borrow(), [(3, Some(Refusal::QueueFull)), (0, None), (1, None), (2, None)]);

        let world = World::new(limited(2, Duration::from_millis(30)), vec![member(server.address)]);
        let start = tokio::time::Instant::now();
        let (first, second) = tokio::join!(world.send(get()), async {
            let result = world.send(get()).await;
            (result, start.elapsed())
        });
        first.expect("an answer");
        assert_eq!(second.0.expect_err("too long").refusal, Refusal::QueueFull);
        assert!(second.1 >= Duration::from_millis(30) && second.1 < Duration::from_millis(95), "{:?}", second.1);
    });
}

fn outlier() -> Outlier {
    Outlier {
        consecutive_errors: 5,
        error_rate: 0,
        min_requests: 20,
        window: Duration::from_secs(10),
        eject: Duration::from_millis(600),
        max_ejected: 50,
        latency: None,
    }
}

#[test]
fn who_fails_is_left_out_for_a_while_and_never_more_than_allowed() {
    worker(async {
        let error = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad";
        let bad = Server::start(move |_, _| Reply::Keep(error.to_owned()));
        let good = Server::named("good");
        let http = HttpPool { algorithm: HttpAlgorithm::RoundRobin, outlier: Some(outlier()), ..HttpPool::default() };
        let world = World::new(http.clone(), vec![member(bad.address), member(good.address)]);
        for _ in 0..30 {
            world.text(get()).await;
        }
        assert_eq!(bad.count(), 5);
        let now = tokio::time::Instant::now().into_std();
        let ejected = world.upstreams.ejected(now);
        assert_eq!(ejected.values().collect::<Vec<_>>(), ["ejected: 5 errors in a row, back in 1 s"]);
        tokio::time::sleep(Duration::from_millis(650)).await;
        assert!(world.upstreams.ejected(tokio::time::Instant::now().into_std()).is_empty());
        for _ in 0..4 {
            world.text(get()).await;
        }
        assert_eq!(bad.count(), 7, "it is back");
        // Alone in its pool nobody is ejected: half of one is none.
        let alone = World::new(http, vec![member(bad.address)]);
        for _ in 0..10 {
            assert_eq!(alone.text(get()).await, "bad");
        }
    });
}

#[test]
fn connections_refused_eject_too() {
    worker(async {
        let http = HttpPool { algorithm: HttpAlgorithm::RoundRobin, outlier: Some(outlier()), ..HttpPool::default() };
        let good = Server::named("good");
        let world = World::new(http, vec![member(dead()), member(good.address)]);
        let mut retries = 0;
        for _ in 0..30 {
            retries += world.send(get()).await.expect("an answer").retries;
        }
        assert_eq!(retries, 5);
    });
}

#[test]
fn a_drain_lets_finish_and_its_deadline_does_not() {
    worker(async {
        let server = Server::start(|n, _| match n {
            0 => Reply::After(Duration::from_millis(200), ok("finished")),
            _ => Reply::Hang,
        });
        let as_state = |state: MemberState| {
            let eligible = state == MemberState::Up;
            vec![MemberPlan { eligible, state, ..member(server.address) }]
        };
        let mut world = World::new(HttpPool::default(), as_state(MemberState::Up));
        world.route.retry.attempts = 0;
        let drain = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            install(&world.upstreams, plan(HttpPool::default(), as_state(MemberState::Draining)));
            let failure = world.send(get()).await.expect_err("nobody takes requests");
            assert_eq!(failure.refusal, Refusal::NoBackend);
        };
        let (answer, ()) = tokio::join!(world.text(get()), drain);
        assert_eq!(answer, "finished");
        assert_eq!(world.client.idle(), 0, "not kept");

        install(&world.upstreams, plan(HttpPool::default(), as_state(MemberState::Up)));
        let expire = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(world.active(), 1);
            install(&world.upstreams, plan(HttpPool::default(), as_state(MemberState::Draining)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(world.active(), 1);
            install(&world.upstreams, plan(HttpPool::default(), as_state(MemberState::Expired)));
        };
        let (result, ()) = tokio::join!(world.send(get()), expire);
        assert_eq!(result.expect_err("cut").refusal, Refusal::BackendClosed);
        let counts = &world.upstreams.counters()[0];
        assert_eq!((counts.active, counts.cut, counts.requests), (0, 1, 2));
    });
}

#[test]
fn idle_connections_go_when_a_drain_begins_and_counts_stay() {
    worker(async {
        let server = Server::named("x");
        let world = World::new(HttpPool::default(), vec![member(server.address)]);
        world.text(get()).await;
        assert_eq!(world.client.idle(), 1);
        // The same plan again changes nothing.
        install(&world.upstreams, plan(HttpPool::default(), vec![member(server.address)]));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.client.idle(), 1);
        let draining = MemberPlan { eligible: false, state: MemberState::Draining, ..member(server.address) };
        install(&world.upstreams, plan(HttpPool::default(), vec![draining]));
        until("closed", || world.client.idle() == 0 && server.closed.load(std::sync::atomic::Ordering::SeqCst) == 1)
            .await;
        install(&world.upstreams, plan(HttpPool::default(), vec![member(server.address)]));
        world.text(get()).await;
        assert_eq!(world.upstreams.counters()[0].requests, 2);
    });
}
