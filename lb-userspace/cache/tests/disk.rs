//! The disk tier over restarts: what was stored is there, what was purged is not.

#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod world;

use lb_cache::{Outcome, Purge};
use lb_model::http::{Cache as Rules, DiskCache};
use world::{Fields, World, local, rules};

const FRESH: Fields<'static> = &[("cache-control", "max-age=600"), ("cache-tag", "t")];

fn on(dir: &std::path::Path) -> Rules {
    let mut rules = rules();
    rules.disk = Some(DiskCache { path: dir.join("cache"), size: 64 << 20 });
    rules
}

fn restart(w: World, rules: &Rules) -> World {
    w.caches.close();
    drop(w);
    World::new(rules)
}

#[tokio::test]
async fn what_is_stored_survives_and_what_is_purged_does_not_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = on(dir.path());
    local(async {
        let w = World::new(&rules);
        for path in ["/kept", "/purged", "/tagged", "/a/1"] {
            w.then(200, &FRESH[..1], path);
            w.get(path).await;
        }
        w.then(200, FRESH, "tagged");
        w.get("/with-tag").await;
        let vary: Fields<'_> = &[("cache-control", "max-age=600"), ("vary", "accept-language")];
        for language in ["de", "en"] {
            w.then(200, vary, language);
            w.ask("GET", "/vary", &[("accept-language", language)]).await;
        }
        let large = "x".repeat(900 << 10);
        w.then(200, FRESH, &large);
        w.get("/large").await;
        let w = restart(w, &rules);
        assert_eq!(w.caches.stats().entries, 0);
        let kept = w.get("/kept").await;
        assert_eq!((kept.body.as_str(), kept.outcome, kept.cache_status()), ("/kept", Outcome::Hit, "lb; hit"));
        for language in ["en", "de"] {
            let got = w.ask("GET", "/vary", &[("accept-language", language)]).await;
            assert_eq!((got.body.as_str(), got.outcome), (language, Outcome::Hit));
        }
        assert!(w.get("/large").await.body == large);
        assert_eq!(w.fetches(), 0);
        assert_eq!(w.caches.purge(&Purge::Key("http://a.test/purged".to_owned())), 1, "only on disk");
        w.caches.purge(&Purge::Tag("t".to_owned()));
        w.caches.purge(&Purge::Prefix("http://a.test/a/".to_owned()));
        let w = restart(w, &rules);
        for path in ["/purged", "/with-tag", "/large", "/a/1"] {
            w.then(200, FRESH, "new");
            assert_eq!(w.get(path).await.body, "new", "{path}");
        }
        assert_eq!(w.get("/kept").await.outcome, Outcome::Hit);
        w.caches.purge(&Purge::All);
        let w = restart(w, &rules);
        w.then(200, FRESH, "new");
        assert_eq!(w.get("/kept").await.body, "new");
    })
    .await;
}

#[tokio::test]
async fn a_change_that_invalidated_is_not_undone_by_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = on(dir.path());
    local(async {
        let w = World::new(&rules);
        w.then(200, FRESH, "old");
        w.get("/").await;
        w.then(204, &[], "");
        w.ask("PUT", "/", &[]).await;
        let w = restart(w, &rules);
        w.then(200, FRESH, "new");
        assert_eq!(w.get("/").await.body, "new");
    })
    .await;
}

#[tokio::test]
async fn a_lost_journal_makes_the_disk_worthless_not_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = on(dir.path());
    local(async {
        let w = World::new(&rules);
        w.then(200, FRESH, "old");
        w.get("/").await;
        w.caches.close();
        drop(w);
        std::fs::remove_file(dir.path().join("cache/purges")).expect("a journal");
        let w = World::new(&rules);
        w.then(200, FRESH, "new");
        assert_eq!(w.get("/").await.body, "new");
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_said_and_memory_works() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("cache"), "a file").expect("a file");
    local(async {
        let w = World::new(&rules());
        let failed = w.caches.set(&[(world::name(), on(dir.path()))]);
        assert_eq!(failed.len(), 1);
        assert!(failed[0].to_string().contains("route 'all'"), "{failed:?}");
        w.then(200, FRESH, "one");
        w.get("/").await;
        assert_eq!(w.get("/").await.outcome, Outcome::Hit);
    })
    .await;
}

#[tokio::test]
async fn a_directory_in_use_is_taken_over_when_it_is_free() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = on(dir.path());
    local(async {
        let old = World::new(&rules);
        old.then(200, FRESH, "old");
        old.get("/").await;
        let new = World::new(&world::rules());
        let failed = new.caches.set(&[(world::name(), rules.clone())]);
        assert!(failed.len() == 1 && failed[0].to_string().contains("in use"), "{failed:?}");
        old.caches.close();
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let got = new.ask("GET", "/", &[("cache-control", "only-if-cached")]).await;
            if got.outcome == Outcome::Hit {
                return;
            }
        }
        panic!("not taken over");
    })
    .await;
}
