//! Commands, draining and what a restart remembers, on a clock that runs as fast as it may.

mod mock;

use std::time::Duration;

use lb_control::{BackendState, CommandError, Handle};
use lb_dataplane::Condition;
use mock::{Place, TWO, until};

fn s(text: &str) -> String {
    text.to_owned()
}

async fn drain(h: &Handle, address: &str, timeout: Option<u64>) {
    h.backend_drain(s("web"), s(address), timeout.map(Duration::from_secs)).await.expect("it drains");
}

fn state(view: &lb_control::View, address: &str) -> Option<BackendState> {
    view.backend("web", address).map(|b| b.state)
}

#[tokio::test(start_paused = true)]
async fn names_and_weights_are_checked() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    let got = h.backend_set(s("wbe"), s("10.0.0.1:80"), 1).await;
    assert_eq!(got, Err(CommandError::Unknown { kind: "pool", given: s("wbe"), nearest: Some(s("web")) }));
    let got = h.backend_drain(s("web"), s("10.0.0.3:80"), None).await;
    assert!(matches!(got, Err(CommandError::Unknown { kind: "backend", nearest: Some(_), .. })), "{got:?}");
    let got = h.backend_set(s("web"), s("10.0.0.1:80"), 1001).await;
    assert_eq!(got, Err(CommandError::Invalid(s("weight 1001 is not between 0 and 1000"))));
    assert!(matches!(h.backend_add(s("web"), s("10.0.0.1:x"), None).await, Err(CommandError::Invalid(_))));
    assert!(matches!(h.backend_add(s("web"), s("10.0.0.1:80"), None).await, Err(CommandError::Invalid(_))));
    // The service has a port, so its backends need one: what the file may not say, the CLI may not either.
    let got = h.backend_add(s("web"), s("10.0.0.9"), None).await;
    assert!(matches!(&got, Err(CommandError::Invalid(why)) if why.contains("port")), "{got:?}");
    let query = lb_control::FlowQuery { service: Some(s("web3")), limit: None };
    let got = h.flows(query).await;
    assert!(matches!(got, Err(CommandError::Unknown { kind: "service", nearest: Some(_), .. })), "{got:?}");
    assert!(h.view().await.overrides.is_empty(), "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn changes_survive_a_restart_and_end_when_undone() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, task) = place.start();
    h.backend_set(s("web"), s("10.0.0.1:80"), 7).await.expect("set");
    h.backend_add(s("web"), s("10.0.0.3:80"), Some(3)).await.expect("added");
    let told = h.view().await.overrides.clone();
    assert_eq!(told, ["web/10.0.0.1:80: weight 7 (the file says 1)", "web/10.0.0.3:80: added, weight 3"]);
    assert!(h.shutdown().await.contains("keep true"));
    task.await.expect("ended");

    let (h, _task) = place.start();
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").weight.get(), 7);
    assert_eq!(place.plane.member("web", "10.0.0.3:80").expect("there").weight.get(), 3);
    assert_eq!(h.view().await.overrides, told);
    let exported = lb_config::parse(&h.export().await, "export").expect("a good file").desired;
    assert_eq!(exported.pools["web"].backends().len(), 3);

    // The file's own value is no change, and a removed addition is none either.
    h.backend_set(s("web"), s("10.0.0.1:80"), 1).await.expect("set");
    h.backend_remove(s("web"), s("10.0.0.3:80"), false).await.expect("removed");
    assert!(h.view().await.overrides.is_empty());
    until(&h, "the added one is gone", |v| v.backend("web", "10.0.0.3:80").is_none()).await;
    assert!(place.plane.member("web", "10.0.0.3:80").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_flows() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 2);
    drain(&h, "10.0.0.1:80", None).await;
    let view = h.view().await;
    let b = view.backend("web", "10.0.0.1:80").expect("listed");
    assert_eq!((b.state, b.counters.active_flows), (BackendState::Draining, 2));
    let left = b.drain_deadline_in.expect("a deadline");
    assert!(
        left > Duration::from_secs(19) && left <= Duration::from_secs(20),
        "the longest of the services': {left:?}"
    );
    let member = place.plane.member("web", "10.0.0.1:80").expect("there");
    assert!(!member.eligible && member.condition == Condition::Up);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Draining));
    place.plane.set_flows("web", "10.0.0.1:80", 0);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Draining), "seen twice, a second apart");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Drained));
    assert!(!place.plane.member("web", "10.0.0.1:80").expect("still there").eligible);
    // Drained it stays, over a restart too, until it is undrained.
    h.shutdown().await;
    task.await.expect("ended");
    let (h, _task) = place.start();
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Drained));
    assert_eq!(h.view().await.overrides, ["web/10.0.0.1:80: drained"]);
    h.backend_undrain(s("web"), s("10.0.0.1:80")).await.expect("undrained");
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Active));
    assert!(place.plane.member("web", "10.0.0.1:80").expect("there").eligible);
    assert!(h.view().await.overrides.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 1);
    drain(&h, "10.0.0.1:80", Some(3)).await;
    tokio::time::sleep(Duration::from_millis(2900)).await;
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").condition, Condition::Up);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").condition, Condition::Expired);
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Draining));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(state(&*h.view().await, "10.0.0.1:80"), Some(BackendState::Drained), "a moment after the deadline");
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").condition, Condition::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_outlives_the_process() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 1);
    place.plane.set_flows("web", "10.0.0.2:80", 1);
    drain(&h, "10.0.0.1:80", Some(1000)).await;
    h.backend_remove(s("web"), s("10.0.0.2:80"), false).await.expect("removed");
    h.shutdown().await;
    task.await.expect("ended");
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.2:80", 1);
    let view = h.view().await;
    let left = view.backend("web", "10.0.0.1:80").and_then(|b| b.drain_deadline_in).expect("a deadline");
    assert!(left > Duration::from_secs(900) && left <= Duration::from_secs(1000), "{left:?}");
    let leaving = view.backend("web", "10.0.0.2:80").expect("still listed");
    assert!(leaving.leaving && leaving.state == BackendState::Draining && leaving.weight == 2);
    assert!(!place.plane.member("web", "10.0.0.2:80").expect("carried on").eligible);
    until(&h, "gone at its deadline", |v| v.backend("web", "10.0.0.2:80").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn removing_drains_first_and_can_be_taken_back() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.2:80", 4);
    h.backend_remove(s("web"), s("10.0.0.2:80"), false).await.expect("removed");
    assert_eq!(state(&*h.view().await, "10.0.0.2:80"), Some(BackendState::Draining));
    assert!(matches!(h.backend_set(s("web"), s("10.0.0.2:80"), 5).await, Err(CommandError::Refused(_))));
    h.backend_undrain(s("web"), s("10.0.0.2:80")).await.expect("taken back");
    assert_eq!(state(&*h.view().await, "10.0.0.2:80"), Some(BackendState::Active));
    assert!(h.view().await.overrides.is_empty());
    // The same by adding it again.
    h.backend_remove(s("web"), s("10.0.0.2:80"), false).await.expect("removed");
    h.backend_add(s("web"), s("10.0.0.2:80"), Some(9)).await.expect("back");
    let member = place.plane.member("web", "10.0.0.2:80").expect("there");
    assert!(member.eligible && member.weight.get() == 9);
    // By force it is gone from the list at once, and its flows are ended.
    h.backend_remove(s("web"), s("10.0.0.2:80"), true).await.expect("removed");
    assert_eq!(state(&*h.view().await, "10.0.0.2:80"), None);
    assert_eq!(place.plane.member("web", "10.0.0.2:80").expect("for a moment").condition, Condition::Expired);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(place.plane.member("web", "10.0.0.2:80").is_none());
    assert_eq!(h.view().await.overrides, ["web/10.0.0.2:80: removed"]);
    let got = h.backend_undrain(s("web"), s("10.0.0.2:80")).await;
    assert!(matches!(got, Err(CommandError::Unknown { .. })), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_leaves_everything_as_it_was() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    let before = place.plane.inside().state.clone();
    place.plane.inside().refused = vec![s("web")];
    let got = h.backend_set(s("web"), s("10.0.0.1:80"), 9).await;
    assert!(matches!(&got, Err(CommandError::Refused(why)) if why.contains("the mock refuses")), "{got:?}");
    assert!(h.view().await.overrides.is_empty());
    assert_eq!(place.plane.inside().state, before);
    place.plane.inside().refused.clear();
    // Nor can a change be made that cannot be kept.
    let state = place.dir.path().join("state");
    std::fs::remove_dir_all(&state).expect("removed");
    std::fs::write(&state, "in the way").expect("written");
    let got = h.backend_set(s("web"), s("10.0.0.1:80"), 9).await;
    assert!(matches!(&got, Err(CommandError::Refused(why)) if why.contains("cannot be kept")), "{got:?}");
    assert_eq!(place.plane.inside().state, before);
}

#[tokio::test(start_paused = true)]
async fn what_the_plane_refuses_is_told_and_tried_again() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 1);
    drain(&h, "10.0.0.1:80", Some(1)).await;
    place.plane.inside().refused = vec![s("web")];
    tokio::time::sleep(Duration::from_secs(30)).await;
    let notes = h.view().await.notes.clone();
    assert_eq!(notes, ["not in force yet: pool 'web': the mock refuses web"]);
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").condition, Condition::Up);
    place.plane.inside().refused.clear();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(place.plane.member("web", "10.0.0.1:80").expect("there").condition, Condition::Expired);
    assert!(h.view().await.notes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_state_file_of_another_version_is_kept_aside() {
    let mut place = Place::new();
    place.write(TWO);
    let state = place.dir.path().join("state");
    std::fs::create_dir_all(&state).expect("made");
    std::fs::write(state.join("overrides.json"), r#"{"version": 7, "new": []}"#).expect("written");
    std::fs::write(state.join("counters.json"), "{").expect("written");
    let (h, _task) = place.start();
    let notes = h.view().await.notes.join("\n");
    assert!(notes.contains("is of version 7, and this is for version 1"), "{notes}");
    assert!(state.join("overrides.json.version-7").exists() && state.join("counters.json.broken").exists());
    h.backend_set(s("web"), s("10.0.0.1:80"), 9).await.expect("a new file is begun");
}

#[tokio::test(start_paused = true)]
async fn counters_never_fall() {
    let mut place = Place::new();
    place.write(TWO);
    let (h, task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 0);
    let before = h.view().await.backend("web", "10.0.0.1:80").expect("listed").counters.clone();
    assert_eq!(before.packets, 10);
    task.abort();
    drop(h);
    let _ = task.await;
    // Killed, and with a new engine.
    let (h, _task) = place.start();
    place.plane.set_flows("web", "10.0.0.1:80", 0);
    assert_eq!(h.view().await.backend("web", "10.0.0.1:80").expect("listed").counters.packets, 20);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_as_configured() {
    let mut place = Place::new();
    place.write(&format!("on_exit = \"detach\"\n{TWO}"));
    let (h, task) = place.start();
    h.shutdown().await;
    task.await.expect("ended");
    assert_eq!(place.plane.inside().released, Some(false));
    assert!(matches!(h.detach().await, Err(CommandError::Refused(_))), "nobody is there any more");
    assert_eq!(h.view().await.services.len(), 2, "the last view is still to be had");
    // The last handle's end is the task's.
    place.write(TWO);
    let (h, task) = place.start();
    drop(h);
    task.await.expect("ended");
    assert_eq!(place.plane.inside().released, Some(true));
    let (h, task) = place.start();
    h.detach().await.expect("detached");
    task.await.expect("ended");
    assert_eq!(place.plane.inside().released, Some(false));
}
