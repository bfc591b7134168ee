//! RFC 9111 rule by rule: what is stored, what is used, what the backend and the client see.

#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod world;

use lb_cache::{Outcome, Purge};
use world::{Fields, World, local, rules};

/// Asks twice. True: the second answer came from the cache.
async fn is_stored(request: Fields<'_>, status: u16, response: Fields<'_>) -> bool {
    let w = World::new(&rules());
    w.then(status, response, "one");
    w.then(status, response, "two");
    let first = w.ask("GET", "/", request).await;
    assert_eq!(first.body, "one");
    let second = w.ask("GET", "/", request).await;
    assert_eq!(second.body == "one", w.fetches() == 1, "{second:?}");
    second.outcome == Outcome::Hit
}

#[tokio::test]
async fn what_may_be_stored() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    let table: &[(&str, Fields<'_>, u16, Fields<'_>, bool)] = &[
        ("max-age", &[], 200, &[FRESH], true),
        ("s-maxage", &[], 200, &[("cache-control", "s-maxage=60")], true),
        ("s-maxage beats max-age", &[], 200, &[("cache-control", "s-maxage=60, max-age=0")], true),
        ("s-maxage=0 beats max-age", &[], 200, &[("cache-control", "s-maxage=0, max-age=60")], false),
        ("no heuristics", &[], 200, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], false),
        ("public alone says no time", &[], 200, &[("cache-control", "public")], false),
        ("nothing said", &[], 200, &[], false),
        ("Expires in the future", &[], 200, &[("expires", "Sat, 06 Nov 2094 08:49:37 GMT")], true),
        ("Expires in the past", &[], 200, &[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")], false),
        ("Expires: 0", &[], 200, &[("expires", "0")], false),
        ("max-age beats Expires", &[], 200, &[FRESH, ("expires", "0")], true),
        ("no-store", &[], 200, &[("cache-control", "no-store, max-age=60")], false),
        (
            "no-store with must-understand",
            &[],
            200,
            &[("cache-control", "no-store, must-understand, max-age=60")],
            true,
        ),
        ("private", &[], 200, &[("cache-control", "private, max-age=60")], false),
        (
            "private for a field",
            &[],
            200,
            &[("cache-control", "private=\"x-user\", max-age=60"), ("x-user", "u")],
            true,
        ),
        ("request no-store", &[("cache-control", "no-store")], 200, &[FRESH], false),
        ("request no-cache", &[("cache-control", "no-cache")], 200, &[FRESH], false),
        ("request Pragma", &[("pragma", "no-cache")], 200, &[FRESH], false),
        ("Pragma beside Cache-Control", &[("pragma", "no-cache"), ("cache-control", "max-age=9")], 200, &[FRESH], true),
        ("Authorization", &[("authorization", "x")], 200, &[FRESH], false),
        ("Authorization, public", &[("authorization", "x")], 200, &[("cache-control", "public, max-age=60")], true),
        ("Authorization, s-maxage", &[("authorization", "x")], 200, &[("cache-control", "s-maxage=60")], true),
        (
            "Authorization, must-revalidate",
            &[("authorization", "x")],
            200,
            &[("cache-control", "must-revalidate, max-age=60")],
            true,
        ),
        ("Cookie", &[("cookie", "a=b")], 200, &[FRESH], true),
        ("Set-Cookie", &[], 200, &[FRESH, ("set-cookie", "a=b")], false),
        (
            "Set-Cookie, named",
            &[],
            200,
            &[("cache-control", "max-age=60, no-cache=\"set-cookie\""), ("set-cookie", "a")],
            true,
        ),
        ("Vary: *", &[], 200, &[FRESH, ("vary", "*")], false),
        ("Vary: a, *", &[], 200, &[FRESH, ("vary", "accept, *")], false),
        ("Vary", &[("accept", "a")], 200, &[FRESH, ("vary", "accept")], true),
        ("404", &[], 404, &[FRESH], true),
        ("301", &[], 301, &[FRESH], true),
        ("302", &[], 302, &[FRESH], true),
        ("206", &[], 206, &[FRESH], false),
        ("500", &[], 500, &[FRESH], false),
        ("an unknown status", &[], 299, &[FRESH], false),
        ("Age", &[], 200, &[FRESH, ("age", "59")], true),
        ("Age at the end", &[], 200, &[FRESH, ("age", "60")], false),
        ("an old Date", &[], 200, &[FRESH, ("date", "Sun, 06 Nov 1994 08:49:37 GMT")], false),
        ("max-age broken", &[], 200, &[("cache-control", "max-age=soon")], false),
    ];
    local(async {
        for (what, request, status, response, expected) in table {
            assert_eq!(is_stored(request, *status, response).await, *expected, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_miss_then_a_hit_and_what_they_say() {
    local(async {
        let w = World::new(&rules());
        w.then(200, &[("cache-control", "max-age=60"), ("connection", "x-hop"), ("x-hop", "1"), ("x-b", "2")], "body");
        let miss = w.get("/a?q=1").await;
        assert_eq!((miss.cache_status(), miss.outcome), ("lb; fwd=miss; stored", Outcome::Miss));
        w.pass(7);
        let hit = w.get("/a?q=1").await;
        assert_eq!((hit.cache_status(), hit.outcome, hit.body.as_str()), ("lb; hit", Outcome::Hit, "body"));
        assert_eq!(
            (hit.field("age"), hit.field("x-b"), hit.field("x-hop"), hit.field("connection")),
            ("7", "2", "", "")
        );
        assert!(!hit.field("date").is_empty(), "dated when it was stored");
        let head = w.ask("HEAD", "/a?q=1", &[]).await;
        assert_eq!((head.status, head.body.as_str(), head.outcome), (200, "", Outcome::Hit));
        w.then(200, &[], "other");
        assert_eq!(w.get("/a?q=2").await.body, "other", "another query, another response");
        let stats = w.caches.stats();
        assert_eq!((stats.hits, stats.misses, stats.stored, stats.entries), (2, 2, 1, 1));
        assert!(stats.bytes > 4 && stats.bytes < 2000, "{stats:?}");
        w.pass(53);
        w.then(200, &[("cache-control", "max-age=60")], "new");
        let stale = w.get("/a?q=1").await;
        assert_eq!((stale.cache_status(), stale.body.as_str()), ("lb; fwd=stale; stored", "new"));
    })
    .await;
}

#[tokio::test]
async fn what_other_methods_do() {
    local(async {
        let fresh: Fields<'_> = &[("cache-control", "max-age=60")];
        for (method, status, extra, gone) in [
            ("POST", 200, None, true),
            ("PUT", 204, None, true),
            ("DELETE", 303, None, true),
            ("MKCOL", 201, None, true),
            ("POST", 400, None, false),
            ("OPTIONS", 200, None, false),
            ("QUERY", 200, None, false),
            ("POST", 201, Some(("location", "/there")), true),
            ("POST", 201, Some(("content-location", "http://a.test/there")), true),
            ("POST", 201, Some(("location", "http://other.test/there")), true),
        ] {
            let w = World::new(&rules());
            w.then(200, fresh, "here");
            w.then(200, fresh, "there");
            w.get("/here").await;
            w.get("/there").await;
            let fields: Vec<_> = [("cache-control", "max-age=60")].into_iter().chain(extra).collect();
            w.then(status, &fields, "");
            let other = w.ask(method, "/here", &[]).await;
            assert_eq!((other.cache_status(), other.outcome), ("lb; fwd=method", Outcome::Bypass));
            w.then(200, fresh, "again");
            assert_eq!(w.get("/here").await.body == "again", gone, "{method} {status}");
            let same_origin = extra.is_some_and(|(_, at)| !at.contains("other"));
            w.then(200, fresh, "again");
            assert_eq!(w.get("/there").await.body == "again", same_origin, "{method} {extra:?}");
        }
        let w = World::new(&rules());
        w.then(200, fresh, "q");
        w.ask("QUERY", "/q", &[]).await;
        w.then(200, fresh, "g");
        assert_eq!(w.get("/q").await.body, "g", "QUERY is not stored");
    })
    .await;
}

#[tokio::test]
async fn variants() {
    local(async {
        let w = World::new(&rules());
        let answer: Fields<'_> = &[("cache-control", "max-age=60"), ("vary", "Accept-Language, Accept-Encoding")];
        w.then(200, answer, "de");
        w.ask("GET", "/", &[("accept-language", "de"), ("accept-encoding", "gzip, br")]).await;
        w.then(200, answer, "en");
        let en = w.ask("GET", "/", &[("accept-language", "en")]).await;
        assert_eq!(en.cache_status(), "lb; fwd=vary-miss; stored");
        let de = w.ask("GET", "/", &[("accept-language", " de"), ("accept-encoding", "gzip,br")]).await;
        assert_eq!((de.body.as_str(), de.outcome), ("de", Outcome::Hit));
        assert_eq!(w.ask("GET", "/", &[("accept-language", "en")]).await.body, "en");
        assert_eq!(w.caches.stats().entries, 2);
        assert_eq!(w.caches.purge(&Purge::Key("http://A.test:80/".to_owned())), 2);
    })
    .await;
}

#[tokio::test]
async fn validation() {
    local(async {
        let w = World::new(&rules());
        let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
        let first: Fields<'_> =
            &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("last-modified", modified), ("x-n", "1")];
        w.then(200, first, "body");
        w.get("/").await;
        w.pass(20);
        w.then(304, &[("etag", "W/\"1\""), ("x-n", "2"), ("content-length", "0"), ("set-cookie", "mine")], "");
        let confirmed = w.ask("GET", "/", &[("if-none-match", "\"0\"")]).await;
        assert_eq!((confirmed.status, confirmed.body.as_str(), confirmed.field("x-n")), (200, "body", "2"));
        assert_eq!(
            (confirmed.cache_status(), confirmed.outcome),
            ("lb; fwd=stale; fwd-status=304", Outcome::Revalidated)
        );
        assert_eq!(confirmed.field("set-cookie"), "mine");
        let asked = w.asked.borrow()[1].1.clone();
        assert_eq!(
            (asked["if-none-match"].as_bytes(), asked["if-modified-since"].as_bytes()),
            (&b"\"1\""[..], modified.as_bytes())
        );
        let hit = w.get("/").await;
        assert_eq!(
            (hit.outcome, hit.field("x-n"), hit.field("set-cookie"), hit.field("age")),
            (Outcome::Hit, "2", "", "0")
        );
        w.pass(20);
        w.then(304, &[("etag", "\"9\"")], "");
        w.then(200, &[("cache-control", "max-age=10"), ("etag", "\"9\"")], "new");
        let other = w.get("/").await;
        assert_eq!((other.body.as_str(), w.fetches()), ("new", 4), "a 304 about something else is no confirmation");
        assert!(!w.asked.borrow()[3].1.contains_key("if-none-match"));
        w.pass(20);
        w.then(200, &[("cache-control", "no-store")], "gone");
        assert_eq!(w.get("/").await.body, "gone");
        assert_eq!(w.caches.stats().entries, 0, "the newest may not be stored: the old one goes");
    })
    .await;
}

#[tokio::test]
async fn no_cache_is_stored_and_always_validated() {
    local(async {
        let w = World::new(&rules());
        w.then(200, &[("cache-control", "no-cache"), ("etag", "\"1\"")], "body");
        w.get("/").await;
        for _ in 0..2 {
            w.then(304, &[("etag", "\"1\"")], "");
            let again = w.get("/").await;
            assert_eq!((again.body.as_str(), again.outcome), ("body", Outcome::Revalidated));
        }
        assert_eq!(w.fetches(), 3);
    })
    .await;
}

#[tokio::test]
async fn the_clients_own_conditions_and_ranges() {
    local(async {
        let w = World::new(&rules());
        w.then(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-type", "text/plain")],
            "0123456789",
        );
        let first = w.ask("GET", "/", &[("if-none-match", "\"1\"")]).await;
        assert_eq!((first.status, first.body.as_str()), (304, ""), "the whole was fetched and stored all the same");
        assert!(!w.asked.borrow()[0].1.contains_key("if-none-match"));
        let same = w.ask("GET", "/", &[("if-none-match", "W/\"1\"")]).await;
        assert_eq!((same.status, same.outcome, same.field("content-type")), (304, Outcome::Hit, ""));
        let part = w.ask("GET", "/", &[("range", "bytes=2-4")]).await;
        assert_eq!((part.status, part.body.as_str(), part.field("content-range")), (206, "234", "bytes 2-4/10"));
        assert_eq!(part.field("content-length"), "3");
        let beyond = w.ask("GET", "/", &[("range", "bytes=10-")]).await;
        assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10"));
        assert_eq!(w.ask("GET", "/", &[("range", "bytes=0-1,3-4")]).await.status, 200);
        assert_eq!(w.fetches(), 1);
        w.then(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/10")], "01");
        let miss = w.ask("GET", "/other", &[("range", "bytes=0-1")]).await;
        assert_eq!((miss.status, miss.cache_status()), (206, "lb; fwd=miss"));
        assert_eq!(w.asked.borrow()[1].1["range"], "bytes=0-1");
        w.then(412, &[], "");
        let if_match = w.ask("GET", "/", &[("if-match", "\"2\"")]).await;
        assert_eq!(
            (if_match.status, if_match.outcome, if_match.cache_status()),
            (412, Outcome::Bypass, "lb; fwd=bypass")
        );
    })
    .await;
}

#[tokio::test]
async fn requests_that_say_what_they_want() {
    local(async {
        let w = World::new(&rules());
        let only = w.ask("GET", "/", &[("cache-control", "only-if-cached")]).await;
        assert_eq!((only.status, w.fetches()), (504, 0));
        w.then(200, &[("cache-control", "max-age=10")], "one");
        w.get("/").await;
        assert_eq!(w.ask("GET", "/", &[("cache-control", "only-if-cached")]).await.body, "one");
        w.pass(5);
        w.then(200, &[("cache-control", "max-age=10")], "two");
        let fresher = w.ask("GET", "/", &[("cache-control", "max-age=4")]).await;
        assert_eq!((fresher.body.as_str(), fresher.cache_status()), ("two", "lb; fwd=request; stored"));
        w.pass(15);
        let stale = w.ask("GET", "/", &[("cache-control", "max-stale=9")]).await;
        assert_eq!(
            (stale.body.as_str(), stale.outcome, stale.cache_status()),
            ("two", Outcome::Stale, "lb; hit; ttl=-5")
        );
        w.then(200, &[], "who");
        let secret = w.ask("GET", "/", &[("authorization", "x"), ("cache-control", "max-stale")]).await;
        assert_eq!((secret.body.as_str(), secret.outcome), ("who", Outcome::Bypass), "not said to be for everybody");
    })
    .await;
}

#[tokio::test]
async fn what_is_purged_and_what_is_kept() {
    local(async {
        let w = World::new(&rules());
        for (path, tags) in [("/a/1", "news, top"), ("/a/2", "top"), ("/b", "Old news"), ("/c?x=1", "")] {
            w.then(200, &[("cache-control", "max-age=60"), ("cache-tag", tags)], path);
            w.get(path).await;
        }
        let purge = |what| w.caches.purge(&what);
        assert_eq!(purge(Purge::Tag("news".to_owned())), 2);
        assert_eq!(purge(Purge::Tag("news".to_owned())), 0);
        assert_eq!(w.get("/a/2").await.outcome, Outcome::Hit);
        assert_eq!(purge(Purge::Prefix("HTTP://a.test/a/".to_owned())), 1);
        assert_eq!(purge(Purge::Key("http://a.test/c".to_owned())), 0);
        assert_eq!(purge(Purge::Key("http://a.test/c?x=1".to_owned())), 1);
        w.then(200, &[("cache-control", "max-age=60")], "again");
        assert_eq!(w.get("/a/1").await.body, "again");
        assert_eq!(purge(Purge::All), 1);
        assert_eq!(w.caches.stats().entries, 0);
    })
    .await;
}

#[tokio::test]
async fn upstream_caches_come_first_in_cache_status() {
    local(async {
        let w = World::new(&rules());
        w.then(200, &[("cache-control", "max-age=60"), ("cache-status", "inner; hit")], "x");
        assert_eq!(w.get("/").await.cache_status(), "inner; hit, lb; fwd=miss; stored");
        assert_eq!(w.get("/").await.cache_status(), "inner; hit, lb; hit");
    })
    .await;
}
