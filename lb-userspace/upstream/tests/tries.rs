//! Further tries: when they are made, for whom, and how many.

mod support;

use std::time::Duration;

use http::Request;
use lb_message::Body;
use lb_model::StatusRange;
use lb_model::http::{HttpAlgorithm, HttpPool, Refusal, Retry};
use support::*;

fn in_turn() -> HttpPool {
    HttpPool { algorithm: HttpAlgorithm::RoundRobin, ..HttpPool::default() }
}

fn put(body: Body) -> Request<Body> {
    Request::put("/a").header("host", "a.test").body(body).expect("a request")
}

#[test]
fn who_was_never_reached_is_replaced_for_any_method() {
    worker(async {
        let server = Server::named("alive");
        let world = World::new(in_turn(), vec![member(dead()), member(server.address)]);
        let mut tries = Vec::new();
        for _ in 0..4 {
            let answer = world.send(post("pay")).await.expect("an answer");
            assert_eq!(answer.backend, server.address);
            tries.push(answer.retries);
        }
        tries.sort_unstable();
        assert_eq!(tries, [0, 0, 1, 1]);
        assert_eq!(server.count(), 4);
    });
}

#[test]
fn without_another_or_without_tries_it_fails() {
    worker(async {
        let world = World::new(in_turn(), vec![member(dead())]);
        let failure = world.send(get()).await.expect_err("nobody");
        assert_eq!((failure.refusal, failure.retries), (Refusal::ConnectFailed, 0));
        let mut world = World::new(in_turn(), vec![member(dead()), member(Server::named("x").address)]);
        world.route.retry.attempts = 0;
        assert_eq!(world.send(get()).await.expect_err("no further try").refusal, Refusal::ConnectFailed);
        assert_eq!(world.text(get()).await, "x");
        let world = World::new(in_turn(), vec![]);
        let failure = world.send(get()).await.expect_err("nobody");
        assert_eq!((failure.refusal, failure.retry_after.is_some()), (Refusal::NoBackend, true));
        assert_eq!(world.active(), 0);
    });
}

#[test]
fn a_connection_that_is_not_accepted_in_time() {
    worker(async {
        // A blackhole: TEST-NET-1 (RFC 5737) is routed nowhere; some networks refuse at once, which is a failure too.
        let nowhere = ([192, 0, 2, 1], 9).into();
        let mut world = World::new(in_turn(), vec![member(nowhere)]);
        world.route.timeouts.connect = Duration::from_millis(100);
        let failure = world.send(get()).await.expect_err("nobody");
        assert!(matches!(failure.refusal, Refusal::ConnectTimeout | Refusal::ConnectFailed));
    });
}

#[test]
fn closed_before_an_answer_only_what_may_be_sent_twice() {
    worker(async {
        for (request, again) in [
            (get(), true),
            (put(Body::full("hello")), true),
            (put(Body::full("x".repeat(64 << 10))), true),
            (put(Body::full("x".repeat((64 << 10) + 1))), false),
            (post("pay"), false),
        ] {
            let bad = Server::start(|_, _| Reply::Close(String::new()));
            let good = Server::named("good");
            let world = World::new(in_turn(), vec![member(bad.address), member(good.address)]);
            let what = format!("{request:?}");
            match world.send(request).await {
                Ok(answer) => assert!(again && answer.retries == 1, "{what}"),
                Err(failure) => {
                    assert_eq!(failure.refusal, Refusal::BackendClosed);
                    assert!(!again, "{what}");
                }
            }
            assert_eq!(good.count(), usize::from(again), "{what}");
            if again && bad.request(0).starts_with("PUT") {
                let body = |s: &Server| s.request(0).split_once("\r\n\r\n").map(|(_, b)| b.len());
                assert_eq!(body(&bad), body(&good));
            }
        }
    });
}

#[test]
fn after_a_byte_of_an_answer_nothing_is_sent_again() {
    worker(async {
        let bad = Server::start(|_, _| Reply::Close("HTTP/1.1 200".into()));
        let good = Server::named("good");
        let world = World::new(in_turn(), vec![member(bad.address), member(good.address)]);
        assert_eq!(world.send(get()).await.expect_err("broken off").refusal, Refusal::BackendClosed);
        assert_eq!(good.count(), 0);
    });
}

#[test]
fn statuses_only_those_named_and_only_if_they_may_be_sent_twice() {
    worker(async {
        let down = || "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown".to_owned();
        let bad = Server::start(move |_, _| Reply::Keep(down()));
        let good = Server::named("good");
        let members = || vec![member(bad.address), member(good.address)];
        let mut world = World::new(in_turn(), members());
        assert_eq!(world.text(get()).await, "down", "not named");
        world.route.retry = Retry { on: vec![StatusRange { first: 503, last: 503 }], ..Retry::default() };
        world = World { route: world.route, ..World::new(in_turn(), members()) };
        assert_eq!(world.text(get()).await, "good");
        let posts = [world.text(post("x")).await, world.text(post("x")).await];
        assert!(posts.contains(&"down".to_owned()), "{posts:?}");
        // The answer that was let go has given its connection back.
        until("both idle", || world.client.idle() == 2).await;
        // Alone it is asked again, and its answer is passed on in the end.
        let alone = World { route: world.route, ..World::new(in_turn(), vec![member(bad.address)]) };
        let answer = alone.send(get()).await.expect("an answer");
        assert_eq!((answer.response.status().as_u16(), answer.retries), (503, 1));
    });
}

#[test]
fn the_budget_bounds_them() {
    worker(async {
        let bad = Server::start(|_, _| Reply::Close(String::new()));
        let world = World::new(in_turn(), vec![member(bad.address)]);
        let mut tries = 0;
        for _ in 0..40 {
            tries += world.send(get()).await.expect_err("closed").retries;
        }
        assert_eq!(tries, 10, "ten in ten seconds, and 20 % of 40 is less");
        assert_eq!(bad.count(), 50);
    });
}
