//! Reloads, plans, names and health, from outside.

mod mock;

use std::time::Duration;

use lb_control::{BackendState, ReloadError};
use lb_dataplane::Condition;
use lb_model::Observation;
use mock::{Place, TWO, until, whole};
use tokio::net::TcpListener;

#[tokio::test(start_paused = true)]
async fn a_reload_is_whole_or_nothing() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    let before = place.plane.inside().state.clone();

    place.write(&TWO.replace("10.0.0.2:80", "10.0.0.2:99999"));
    let Err(ReloadError::Invalid(errors)) = h.reload().await else { panic!("the file is wrong") };
    assert_eq!(errors[0].line, 7, "{errors:?}");
    assert!(h.view().await.last_reload_error.as_ref().is_some_and(|e| e.contains("99999")));

    place.plane.inside().unsupported = vec!["web-2".into()];
    place.write(&TWO.replace("10.0.0.2:80", "10.0.0.4:80"));
    assert!(matches!(h.reload().await, Err(ReloadError::Refused(why)) if why.contains("the mock cannot")));
    place.plane.inside().unsupported.clear();

    // Two pools change, the second is refused: the first goes back.
    let more = "[[pool]]\nname = \"zzz\"\nbackends = [{ address = \"10.9.0.1:80\" }]\n";
    place.plane.inside().refused = vec!["zzz".into()];
    place.write(&format!("{}{more}", TWO.replace("10.0.0.2:80", "10.0.0.4:80")));
    assert!(matches!(h.reload().await, Err(ReloadError::Refused(why)) if why.contains("the mock refuses zzz")));
    assert_eq!(place.plane.inside().state, before);
    assert!(h.view().await.backend("web", "10.0.0.2:80").is_some());

    place.plane.inside().refused.clear();
    let report = h.reload().await.expect("in force");
    assert!(
        report.changes.iter().any(|c| c.starts_with("pool 'web': adds 10.0.0.4:80, removes 10.0.0.2:80")),
        "{report:?}"
    );
    let view = h.view().await;
    assert_eq!(view.last_reload_error, None);
    let gone = view.backend("web", "10.0.0.2:80").expect("it drains first");
    assert!(gone.leaving && gone.state == BackendState::Draining);
    until(&h, "it has drained", |v| v.backend("web", "10.0.0.2:80").is_none()).await;
    assert!(place.plane.member("web", "10.0.0.2:80").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_the_file_loses_while_nobody_runs_drains() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, task) = place.start();
    h.shutdown().await;
    task.await.expect("ended");
    place.write(&TWO.replace("10.0.0.2:80", "10.0.0.4:80"));
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.2:80", 3);
    let view = h.view().await;
    let gone = view.backend("web", "10.0.0.2:80").expect("it drains");
    assert!(gone.leaving && gone.state == BackendState::Draining && gone.weight == 2);
    assert!(place.plane.member("web", "10.0.0.2:80").is_some_and(|m| !m.eligible && m.condition == Condition::Up));
    until(&h, "gone at its deadline", |v| v.backend("web", "10.0.0.2:80").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn changes_by_cli_stay_over_a_reload() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    let web = || "web".to_owned();
    h.backend_set(web(), "10.0.0.1:80".into(), 5).await.expect("set");
    h.backend_add(web(), "10.0.0.3:80".into(), None).await.expect("added");
    place.write(&TWO.replace("weight = 2", "weight = 4").replace("5s", "6s"));
    let report = h.reload().await.expect("in force");
    assert!(report.changes.contains(&"service web: changes drain_timeout from 5s to 6s".to_owned()), "{report:?}");
    let weight = |a: &str| place.plane.member("web", a).expect("there").weight.get();
    assert_eq!((weight("10.0.0.1:80"), weight("10.0.0.2:80"), weight("10.0.0.3:80")), (5, 4, 1));
    // The file takes the added one up, and drops the other: neither is the CLI's word any more.
    place.write(&TWO.replace("10.0.0.1:80", "10.0.0.3:80"));
    h.reload().await.expect("in force");
    let view = h.view().await;
    assert_eq!(view.overrides, ["web/10.0.0.1:80: weight 5 (not in force: the file has no such backend)"]);
    assert!(view.backend("web", "10.0.0.1:80").expect("draining").leaving);
    // A port range wants backends without a port. The one by CLI that has one is kept, and not in force.
    h.backend_add(web(), "10.0.0.8:80".into(), None).await.expect("added");
    let ports = TWO.replace("8080/tcp", "8100-8200/tcp").replace("8081/tcp", "8300-8400/tcp");
    place.write(&ports.replace("10.0.0.1:80", "10.0.0.1").replace("10.0.0.2:80", "10.0.0.2"));
    h.reload().await.expect("in force");
    let notes = h.view().await.notes.join("\n");
    assert!(notes.contains("web/10.0.0.8:80, added by CLI, is not in force"), "{notes}");
    place.write(TWO);
    h.reload().await.expect("in force");
    assert!(place.plane.member("web", "10.0.0.8:80").is_some_and(|m| m.eligible));
}

#[tokio::test(start_paused = true)]
async fn host_keys_that_need_a_restart_are_told() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    place.write(&format!("flow_table_size = 5000\non_exit = \"detach\"\n{}", TWO.replace("weight = 2", "weight = 3")));
    let report = h.reload().await.expect("in force");
    assert_eq!(report.notes, ["[host] flow_table_size has changed in the file and needs a restart"]);
    assert!(h.view().await.notes.contains(&report.notes[0]));
    assert!(h.shutdown().await.contains("keep false"), "on_exit needs none");
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_would_move_and_changes_nothing() {
    let mut place = Place::new();
    let pool = |n: u8| {
        let list: Vec<String> = (1..=n).map(|i| format!("{{ address = \"10.0.0.{i}:80\" }}")).collect();
        let service = "[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:8080/tcp\"\npool = \"web\"\n";
        format!("[[pool]]\nname = \"web\"\nbackends = [{}]\n{service}", list.join(", "))
    };
    place.write(&pool(10));
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.10:80", 42);
    let before = place.plane.inside().state.clone();
    let plan = h.plan(whole(place.dir.path(), &pool(9)), "new.toml".into()).await.expect("a good file");
    let p = &plan.pools[0];
    assert_eq!(
        (p.removed.as_slice(), p.added.len(), p.live_flows_moved),
        (["10.0.0.10:80".to_owned()].as_slice(), 0, 42)
    );
    // A tenth of the table, and little else.
    let share = p.slots_moved as f64 / p.slots as f64;
    assert!((0.10..0.11).contains(&share), "{share}");
    assert!(plan.services.is_empty());
    assert!(h.plan("[[pool]]\n".into(), "new.toml".into()).await.is_err_and(|e| e[0].file == "new.toml"));
    let plan = h.plan(whole(place.dir.path(), &pool(10).replace("8080", "8090")), "n".into()).await.expect("good");
    assert_eq!(plan.services, ["web: changes listen from 127.0.0.1:8080/tcp to 127.0.0.1:8090/tcp"]);
    assert!(plan.pools.is_empty());
    assert_eq!(place.plane.inside().state, before);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_had_at_the_start_is_an_error() {
    let place = Place::new();
    place.write(TWO);
    place.plane.inside().refused = vec!["web-2".into()];
    let error = place.start_on_same_plane().expect_err("refused");
    assert_eq!(error.to_string(), "the mock refuses web-2");
}

#[tokio::test(start_paused = true)]
async fn names_are_followed_and_old_addresses_drain() {
    let mut place = Place::new();
    place.resolver.say("app.example", &["10.1.0.1", "10.1.0.2"]);
    place.write(&TWO.replace("10.0.0.1:80", "app.example:80"));
    let (h, task) = place.start();
    let view =
        until(&h, "resolved", |v| v.backend("web", "app.example:80").is_some_and(|b| b.resolved.len() == 2)).await;
    assert!(view.notes.is_empty(), "{:?}", view.notes);
    assert_eq!(place.plane.members("web"), ["10.1.0.1", "10.1.0.2", "10.0.0.2"]);
    place.plane.set_flows("web", "app.example:80", 3);
    place.resolver.say("app.example", &["10.1.0.2", "10.1.0.3"]);
    until(&h, "the new answer", |v| {
        v.backend("web", "app.example:80").is_some_and(|b| b.resolved.iter().any(|ip| ip.to_string() == "10.1.0.3"))
    })
    .await;
    assert_eq!(place.plane.members("web"), ["10.1.0.2", "10.1.0.3", "10.0.0.2", "10.1.0.1"], "the old one last");
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(place.plane.members("web"), ["10.1.0.2", "10.1.0.3", "10.0.0.2"], "gone at its deadline");
    // An IPv4 service has no use for the IPv6 addresses of a host that has both.
    place.resolver.say("app.example", &["10.1.0.2", "2001:db8::2", "10.1.0.3"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(place.plane.members("web"), ["10.1.0.2", "10.1.0.3", "10.0.0.2"]);
    // The last good answer is kept when the name goes away, and over a restart.
    place.resolver.forget("app.example");
    until(&h, "the failure is told", |v| v.notes.iter().any(|n| n.contains("app.example does not resolve"))).await;
    assert_eq!(place.plane.members("web").len(), 3);
    h.shutdown().await;
    task.await.expect("ended");
    let (_h, _task) = place.start();
    assert_eq!(place.plane.members("web"), ["10.1.0.2", "10.1.0.3", "10.0.0.2"]);
}

/// On the real clock: sockets and files do not wait for a paused one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reaches_the_plane_and_survives_a_reload() {
    let mut place = Place::new();
    let up = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let down = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (a, b) = (up.local_addr().expect("addr").to_string(), down.local_addr().expect("addr").to_string());
    drop(down);
    let check = "[pool.health]\ntype = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"2s\"\nrise = 1\nfall = 1\n";
    let file = |health: &str, all_down: &str| {
        format!(
            "[[pool]]\nname = \"web\"\non_all_down = \"{all_down}\"\nbackends = [{{ address = \"{a}\" }}, {{ address = \"{b}\" }}]\n\
             {health}[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:8080/tcp\"\npool = \"web\"\n"
        )
    };
    place.write(&file(check, "drop"));
    let (h, _task) = place.start();
    let health = |v: &lb_control::View, which: &str| v.backend("web", which).map(|b| b.health.clone());
    let refused = Some(Observation::Unhealthy("connection refused".into()));
    until(&h, "both are known", |v| health(v, &a) == Some(Observation::Healthy) && health(v, &b) == refused).await;
    let member = |which: &str| place.plane.member("web", which).expect("there");
    assert!(member(&a).eligible);
    assert!(!member(&b).eligible && member(&b).condition == Condition::Down);
    // Another interval is another check, and yet the dead stay dead.
    place.write(&file(&check.replace("100ms", "60s"), "drop"));
    place.plane.inside().applied.clear();
    h.reload().await.expect("in force");
    assert_eq!(health(&*h.view().await, &b), refused);
    assert!(place.plane.inside().applied.is_empty(), "nothing changed for the data plane");
    // Nor does a restart of the control plane: no packet is sent there before the first probe.
    h.shutdown().await;
    let (h, _task) = place.start();
    assert!(place.plane.member("web", &b).is_some_and(|m| !m.eligible));
    let member = |which: &str| place.plane.member("web", which).expect("there");
    // All down: dropped, or spread over all.
    place.write(&file(check, "drop"));
    h.reload().await.expect("in force");
    drop(up);
    until(&h, "both are down", |v| health(v, &a) == refused).await;
    assert!(!member(&a).eligible && !member(&b).eligible);
    place.write(&file(check, "spread"));
    h.reload().await.expect("in force");
    for which in [&a, &b] {
        assert!(member(which).eligible && member(which).condition == Condition::Up);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_watched() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    let weight = |v: &lb_control::View| v.backend("web", "10.0.0.1:80").map(|b| b.weight);
    tokio::time::sleep(Duration::from_millis(100)).await;
    place.write(&TWO.replace("{ address = \"10.0.0.1:80\" }", "{ address = \"10.0.0.1:80\", weight = 5 }"));
    until(&h, "written in place", |v| weight(v) == Some(5)).await;
    let beside = place.dir.path().join("lb.toml.new");
    std::fs::write(&beside, whole(place.dir.path(), TWO)).expect("written");
    std::fs::rename(&beside, place.file()).expect("renamed over it");
    until(&h, "renamed over", |v| weight(v) == Some(1)).await;
    place.write("nonsense");
    until(&h, "the error is told", |v| v.last_reload_error.is_some()).await;
    assert_eq!(weight(&*h.view().await), Some(1));
}

/// On the real clock. Three pools and one backend: it is asked once an interval, not three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_of_many_pools_is_probed_once() {
    let mut place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("addr");
    let pool = |n: u8| {
        format!(
            "[[pool]]\nname = \"p{n}\"\nbackends = [{{ address = \"{address}\" }}]\n[pool.health]\ntype = \"tcp\"\n\
             interval = \"100ms\"\ntimeout = \"2s\"\njitter = \"0%\"\n\
             [[service]]\nname = \"s{n}\"\nlisten = \"127.0.0.1:809{n}/tcp\"\npool = \"p{n}\"\n"
        )
    };
    place.write(&[pool(1), pool(2), pool(3)].concat());
    let (h, _task) = place.start();
    let mut probes = 0;
    let end = tokio::time::Instant::now() + Duration::from_millis(1050);
    while let Ok(Ok(_)) = tokio::time::timeout_at(end, server.accept()).await {
        probes += 1;
    }
    // Three times as many would be thirty; the clock of a busy machine is given room.
    assert!((2..=20).contains(&probes), "{probes} probes in ten intervals");
    let view = h.view().await;
    for n in ["p1", "p2", "p3"] {
        assert_eq!(view.backend(n, &address.to_string()).map(|b| b.health.clone()), Some(Observation::Healthy));
    }
}
