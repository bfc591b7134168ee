//! `lb run --takeover` seen from outside: nothing is lost, the old one ends, and a new one that fails changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::layer7::{Web, config, get};
use crate::support::{Daemon, Place, free_port, greet, text, until};

/// The process that serves, ended with the test.
struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0).expect("a pid"));
        // Ended already, or to be ended with the test.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Runs the command to its end, and says what serves now.
fn take_over(place: &Place, path: &str) -> Successor {
    let serving = place.json(&["run", "--takeover", "--config", path]);
    Successor(u32::try_from(serving["pid"].as_u64().expect("a pid")).expect("a pid"))
}

#[test]
fn nothing_is_lost() {
    let (place, one, two, listen, metrics) = (Place::new(), Web::start(), Web::start(), free_port(), free_port());
    let with_metrics = |t: String| t.replace("[host]\n", &format!("[host]\nmetrics = \"{metrics}\"\n"));
    let path = place.file("lb.toml", &with_metrics(config(&place, listen, &[&one], "")));
    let path = path.to_str().expect("UTF-8").to_owned();
    let old = Daemon::start(&place, &["--config", &path]);
    until("an answer", || get(listen, "/x"));

    let (stop, good, bad) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, good, bad) = (stop.clone(), good.clone(), bad.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answered = get(listen, "/x").is_some_and(|(status, _)| status == 200);
                    if answered { &good } else { &bad }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let slow = std::thread::spawn(move || get(listen, "/slow"));
    until("the slow one is in flight", || {
        place.json(&["backend", "list"])[0]["active_flows"].as_u64().filter(|n| *n > 0)
    });
    place.file("lb.toml", &with_metrics(config(&place, listen, &[&two], "")));
    let successor = take_over(&place, &path);
    assert_ne!(successor.0, old.id());
    assert_eq!(old.status(), Some(0));
    assert_eq!(slow.join().expect("no panic"), Some((200, one.name)), "what was in flight ended at the old one");
    until("the new one serves with its own file", || get(listen, "/x").filter(|(_, body)| *body == two.name));
    until("the metrics go on", || get(metrics, "/metrics"));
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|c| c.join().expect("no panic"));
    assert_eq!(bad.load(Ordering::Relaxed), 0, "of {} requests", good.load(Ordering::Relaxed));
    assert!(good.load(Ordering::Relaxed) > 20);

    // The claim has gone over with the rest.
    let (code, said) = place.refusal(&["run", "--config", &path]);
    assert!(code == 1 && said.contains(&successor.0.to_string()), "{said}");
    assert!(place.lb(&["reload"]).status.success());
    // And a second time.
    let third = take_over(&place, &path);
    until("the second has gone", || get(listen, "/x"));
    assert_ne!(third.0, successor.0);
}

#[test]
fn a_new_one_that_fails_changes_nothing() {
    let (place, web, listen) = (Place::new(), Web::start(), free_port());
    let path = place.file("lb.toml", &config(&place, listen, &[&web], ""));
    let old = Daemon::start(&place, &["--config", path.to_str().expect("UTF-8")]);
    until("an answer", || get(listen, "/x"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let elsewhere = taken.local_addr().expect("an address");
    let broken = place.file("broken.toml", &config(&place, elsewhere, &[&web], ""));
    let (code, said) = place.refusal(&["run", "--takeover", "--config", broken.to_str().expect("UTF-8")]);
    assert!(code == 1 && said.contains(&elsewhere.to_string()), "{code} {said}");
    assert_eq!(get(listen, "/x").expect("an answer").1, web.name);
    until("changes are taken again", || {
        let set = ["backend", "set", "web", &web.address.to_string(), "--weight", "3"];
        place.lb(&set).status.success().then_some(())
    });
    assert_eq!(place.refusal(&["run", "--takeover", "--config", "nowhere.toml"]).0, 2);
    assert_eq!(old.terminate().0, Some(0));
    let path = path.to_str().expect("UTF-8");
    assert_eq!(place.refusal(&["run", "--takeover", "--config", path]).0, 1, "there is nothing to replace");
}

#[test]
fn services_in_user_space_go_over_too() {
    let (place, backend, listen) = (Place::new(), crate::support::Backend::start(), free_port());
    let path = place.file(
        "lb.toml",
        &format!(
            "[host]\ndata_plane = \"userspace\"\nstate_dir = \"{}\"\nsocket = \"{}\"\nshutdown_timeout = \"10s\"\n\
             [[pool]]\nname = \"web\"\nbackends = [{{ address = \"{}\" }}]\n\
             [[service]]\nname = \"front\"\nlisten = \"{listen}/tcp\"\npool = \"web\"\n",
            place.path().join("state").display(),
            place.socket().display(),
            backend.address
        ),
    );
    let path = path.to_str().expect("UTF-8");
    let old = Daemon::start(&place, &["--config", path]);
    let (mut held, _) = until("a connection", || greet(listen));
    let in_foreground = Daemon::start_with(&place, &["--takeover", "--foreground", "--config", path], |_| {});
    until("a new connection", || greet(listen));
    // An established connection ends when its ends want it to, not before.
    let mut echo = [0; 2];
    std::io::Write::write_all(&mut held, b"hi").expect("sent");
    std::io::Read::read_exact(&mut held, &mut echo).expect("echoed");
    assert_eq!(&echo, b"hi");
    drop(held);
    let (code, last) = old.end();
    assert!(code == Some(0) && last.contains("taken over"), "{last}");
    assert!(text(&place.lb(&["status"]).stdout).contains("front"));
    assert_eq!(in_foreground.terminate().0, Some(0));
}
