//! Many at once, failures, and what happens behind a client's back: collapsed forwarding and RFC 5861.

#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod world;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use lb_cache::{FetchFailed, Outcome, Purge};
use lb_message::{Body, BoxError};
use lb_model::http::Refusal;
use tokio::sync::mpsc;
use world::{Fields, World, got, local, response, rules};

const FRESH: Fields<'static> = &[("cache-control", "max-age=60")];

/// A body whose chunks come from a channel; an error where `None` is sent.
struct Slow(mpsc::UnboundedReceiver<Option<&'static str>>);

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .poll_recv(cx)
            .map(|item| item.map(|chunk| chunk.map(|c| Frame::data(c.into())).ok_or_else(|| "broke".into())))
    }
}

fn slow(w: &World, list: Fields<'_>) -> mpsc::UnboundedSender<Option<&'static str>> {
    let (send, receive) = mpsc::unbounded_channel();
    w.push(response(200, list, Body::boxed(Slow(receive))));
    send
}

#[tokio::test]
async fn many_ask_one_goes() {
    local(async {
        let w = World::new(&rules());
        w.then(200, FRESH, "one");
        let all = (0..20).map(|_| {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get("/").await })
        });
        let all: Vec<_> = all.collect();
        let mut collapsed = 0;
        for one in all {
            let got = one.await.expect("no panic");
            assert_eq!(got.body, "one");
            collapsed += usize::from(got.cache_status() == "lb; fwd=miss; collapsed");
        }
        assert_eq!((w.fetches(), collapsed), (1, 19));
    })
    .await;
}

#[tokio::test]
async fn a_body_on_its_way_is_read_along_though_the_first_client_goes() {
    local(async {
        let w = World::new(&rules());
        let backend = slow(&w, FRESH);
        let first = w.head("GET", "/", &[]).await;
        backend.send(Some("a")).expect("read");
        let second = w.head("GET", "/", &[]).await;
        assert_eq!(second.headers()["cache-status"], "lb; fwd=miss; collapsed");
        let mut second = second.into_body();
        let frame = second.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), "a", "before the end is there");
        drop(first);
        w.settle().await;
        backend.send(Some("b")).expect("still read");
        drop(backend);
        assert_eq!(second.collect().await.expect("the rest").to_bytes(), "b");
        let hit = w.get("/").await;
        assert_eq!((hit.body.as_str(), hit.outcome, w.fetches()), ("ab", Outcome::Hit, 1));
    })
    .await;
}

#[tokio::test]
async fn the_first_client_goes_before_the_head() {
    local(async {
        let w = World::new(&rules());
        w.then(200, FRESH, "one");
        let first = tokio::task::spawn_local({
            let w = w.clone();
            async move { w.get("/").await }
        });
        while w.fetches() == 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::task::spawn_local({
            let w = w.clone();
            async move { w.get("/").await }
        });
        first.abort();
        assert_eq!(second.await.expect("no panic").body, "one");
        assert_eq!(w.fetches(), 1);
        // Nobody waits: the request to the backend ends with the client's.
        let alone = tokio::task::spawn_local({
            let w = w.clone();
            async move { w.get("/alone").await }
        });
        while w.fetches() == 1 {
            tokio::task::yield_now().await;
        }
        alone.abort();
        w.settle().await;
        w.then(200, FRESH, "later");
        assert_eq!(w.get("/alone").await.body, "later");
    })
    .await;
}

#[tokio::test]
async fn what_is_for_one_alone_is_not_shared() {
    local(async {
        let w = World::new(&rules());
        let all: Vec<_> = (0..5)
            .map(|n| {
                w.then(200, &[("cache-control", "private")], ["0", "1", "2", "3", "4"][n]);
                let w = w.clone();
                tokio::task::spawn_local(async move { w.get("/").await.body })
            })
            .collect();
        let mut bodies = Vec::new();
        for one in all {
            bodies.push(one.await.expect("no panic"));
        }
        bodies.sort();
        assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
        // Others' variants neither.
        let vary: Fields<'_> = &[("cache-control", "max-age=60"), ("vary", "cookie")];
        w.then(200, vary, "a");
        w.then(200, vary, "b");
        let (a, b) = tokio::join!(w.ask("GET", "/v", &[("cookie", "a")]), w.ask("GET", "/v", &[("cookie", "b")]));
        assert_eq!((a.body.as_str(), b.body.as_str()), ("a", "b"));
    })
    .await;
}

#[tokio::test]
async fn broken_and_short_bodies_are_not_stored() {
    local(async {
        let w = World::new(&rules());
        let backend = slow(&w, FRESH);
        let first = w.head("GET", "/", &[]).await;
        backend.send(Some("a")).expect("read");
        backend.send(None).expect("read");
        assert!(first.into_body().collect().await.is_err(), "the client hears of it");
        let backend = slow(&w, &[("cache-control", "max-age=60"), ("content-length", "5")]);
        let short = w.head("GET", "/", &[]).await;
        backend.send(Some("abc")).expect("read");
        drop(backend);
        assert!(short.into_body().collect().await.is_err(), "three of five bytes");
        w.then(200, FRESH, "whole");
        assert_eq!(w.get("/").await.body, "whole");
    })
    .await;
}

#[tokio::test]
async fn too_large_is_passed_on_and_not_kept() {
    local(async {
        let mut small = rules();
        small.max_object = 4;
        let w = World::new(&small);
        w.then(200, FRESH, "12345");
        assert_eq!(w.get("/").await.cache_status(), "lb; fwd=miss");
        let backend = slow(&w, FRESH);
        for chunk in ["12", "34", "5", "6"] {
            backend.send(Some(chunk)).expect("open");
        }
        drop(backend);
        assert_eq!(w.get("/").await.body, "123456");
        assert_eq!(w.caches.stats().entries, 0);
        let backend = slow(&w, FRESH);
        backend.send(Some("1234")).expect("open");
        drop(backend);
        w.get("/").await;
        assert_eq!(w.get("/").await.outcome, Outcome::Hit, "four bytes fit");
    })
    .await;
}

#[tokio::test]
async fn a_purge_during_a_fetch_counts() {
    local(async {
        let w = World::new(&rules());
        let backend = slow(&w, FRESH);
        let first = w.head("GET", "/", &[]).await;
        backend.send(Some("old")).expect("read");
        w.caches.purge(&Purge::Prefix("http://a.test/".to_owned()));
        drop(backend);
        assert_eq!(got(first).await.body, "old");
        w.then(200, FRESH, "new");
        assert_eq!(w.get("/").await.body, "new");
    })
    .await;
}

#[tokio::test]
async fn stale_while_revalidate_from_response_and_route() {
    local(async {
        for (route, said, allowed) in [
            (0, "max-age=10, stale-while-revalidate=30", true),
            (30, "max-age=10", true),
            (30, "max-age=10, must-revalidate", false),
            (30, "s-maxage=10", false),
            (30, "max-age=10, stale-while-revalidate=0", false),
            (0, "max-age=10", false),
        ] {
            let mut r = rules();
            r.stale_while_revalidate = Duration::from_secs(route);
            let w = World::new(&r);
            w.then(200, &[("cache-control", said)], "old");
            w.get("/").await;
            w.pass(20);
            w.then(200, &[("cache-control", said)], "new");
            let got = w.get("/").await;
            assert_eq!(got.body == "old", allowed, "{route} {said}");
            if !allowed {
                continue;
            }
            assert_eq!((got.outcome, got.cache_status()), (Outcome::Stale, "lb; hit; ttl=-10"));
            w.get("/").await;
            w.settle().await;
            assert_eq!(w.fetches(), 2, "once in the background");
            let after = w.get("/").await;
            assert_eq!((after.body.as_str(), after.outcome), ("new", Outcome::Hit));
        }
    })
    .await;
}

#[tokio::test]
async fn stale_if_error_from_response_and_route() {
    local(async {
        for (route, said, allowed) in [
            (0, "max-age=10, stale-if-error=30", true),
            (30, "max-age=10", true),
            (30, "max-age=10, must-revalidate", false),
            (5, "max-age=10", false),
        ] {
            for failed in [false, true] {
                let mut r = rules();
                r.stale_if_error = Duration::from_secs(route);
                let w = World::new(&r);
                w.then(200, &[("cache-control", said)], "old");
                w.get("/").await;
                w.pass(20);
                let mut error = response(if failed { 502 } else { 500 }, &[], Body::full("sorry"));
                if failed {
                    error.extensions_mut().insert(FetchFailed(Refusal::ConnectFailed));
                }
                w.push(error);
                let got = w.get("/").await;
                assert_eq!(got.body, if allowed { "old" } else { "sorry" }, "{route} {said}");
                if allowed {
                    let status = if failed { "" } else { " fwd-status=500;" };
                    assert_eq!(got.outcome, Outcome::Stale);
                    assert_eq!(got.cache_status(), format!("lb; fwd=stale;{status} detail=stale-if-error"));
                }
                w.then(200, FRESH, "well");
                assert_eq!(w.get("/").await.body, "well", "an error changes nothing that is stored");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_keeps_what_is_stored_and_memory_is_bounded() {
    local(async {
        let w = World::new(&rules());
        w.then(200, FRESH, "one");
        w.get("/").await;
        let mut changed = rules();
        changed.max_size = 1 << 20;
        changed.max_object = 100 << 10;
        w.caches.set(&[(world::name(), changed)]);
        assert_eq!(w.get("/").await.outcome, Outcome::Hit);
        let body = "x".repeat(50 << 10);
        for n in 0..100 {
            w.then(200, FRESH, &body);
            w.get(&format!("/{n}")).await;
        }
        let stats = w.caches.stats();
        assert!(stats.bytes <= 1 << 20 && stats.evicted >= 80 && stats.entries >= 10, "{stats:?}");
        w.caches.set(&[]);
        assert!(w.caches.get(&world::name()).is_none());
    })
    .await;
}
