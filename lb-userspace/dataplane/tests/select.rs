//! Which engine is chosen, on interfaces of a network namespace of its own. Needs root.

use std::path::PathBuf;
use std::process::Command;

use lb_dataplane::ebpf::{EbpfPlane, Mode, pins};
use lb_dataplane::{PlaneError, PlaneKind, Started, start};
use lb_model::{Host, PlaneChoice};

fn sh(line: &str) {
    let status = Command::new("sh").args(["-c", line]).status().expect("sh runs");
    assert!(status.success(), "{line}");
}

struct Place(Host);

impl Place {
    /// `lo`, which has no XDP of its own, and `lb0`, which has.
    fn new(tag: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test attaches XDP programs: run it as root");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        sh(
            "ip link add lb0 type veth peer name far0 && ip link set lo up && ip link set lb0 up && ip link set far0 up",
        );
        let unique = format!("{tag}{}", std::process::id());
        Self(Host {
            flow_table_size: 4096,
            pin_dir: PathBuf::from(format!("/sys/fs/bpf/lb_{unique}")),
            state_dir: std::env::temp_dir().join(format!("lb-{unique}")),
            ..Host::default()
        })
    }

    fn start(&self, interface: &str, data_plane: PlaneChoice) -> Result<Started, PlaneError> {
        // Threads of a runtime made here are in this thread's namespace.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let interfaces = if interface.is_empty() { Vec::new() } else { vec![interface.to_owned()] };
        runtime.block_on(async { start(&Host { interfaces, data_plane, ..self.0.clone() }) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = pins::detach(&self.0.pin_dir);
        let _gone = std::fs::remove_dir_all(&self.0.state_dir);
    }
}

#[test]
fn auto_takes_the_best_there_is_and_says_why() {
    let place = Place::new("auto");
    let native = place.start("lb0", PlaneChoice::Auto).expect("started");
    assert_eq!(native.plane.kind(), PlaneKind::Xdp);
    native.plane.release(false).expect("released");

    let generic = place.start("lo", PlaneChoice::Auto).expect("started");
    assert_eq!(generic.plane.kind(), PlaneKind::XdpGeneric);
    assert!(generic.reason.contains("native XDP on interface lo"), "{}", generic.reason);
    assert_eq!(generic.plane.interfaces()[0].mode, "generic");
    generic.plane.release(true).expect("released");
    // What goes on in generic mode is taken over as it is.
    let again = place.start("lo", PlaneChoice::Auto).expect("started");
    assert_eq!(again.plane.interfaces()[0].detail, "taken over from an earlier lb");
    again.plane.release(false).expect("released");

    for (interface, why) in [("", "no interface is named"), ("nosuch0", "nosuch0")] {
        let user = place.start(interface, PlaneChoice::Auto).expect("started");
        assert_eq!(user.plane.kind(), PlaneKind::Userspace);
        assert!(user.reason.contains(why), "{}", user.reason);
        user.plane.release(false).expect("released");
    }
    assert!(!place.0.pin_dir.join("FLOWS4").exists(), "nothing is left of what was tried");
}

#[test]
fn any_other_choice_is_taken_at_its_word() {
    let place = Place::new("word");
    let refused = place.start("lo", PlaneChoice::Xdp);
    assert!(matches!(&refused, Err(PlaneError::Unavailable { what, .. }) if what.contains("lo")), "{refused:?}");
    assert!(matches!(place.start("", PlaneChoice::XdpGeneric), Err(PlaneError::Unavailable { .. })));
    let generic = place.start("lb0", PlaneChoice::XdpGeneric).expect("started");
    assert_eq!(generic.plane.kind(), PlaneKind::XdpGeneric);
    drop(generic); // as if killed
    let native = place.start("lb0", PlaneChoice::Xdp).expect("the mode is changed");
    assert_eq!(native.plane.interfaces()[0].mode, "native");
    native.plane.release(true).expect("released");
    let user = place.start("lb0", PlaneChoice::Userspace).expect("started");
    assert_eq!(user.plane.kind(), PlaneKind::Userspace);
    assert!(user.notes.iter().any(|n| n.contains("off")) && !place.0.pin_dir.exists(), "{:?}", user.notes);
    user.plane.release(false).expect("released");
}

#[test]
fn a_native_program_of_an_earlier_lb_gives_way_to_none_in_between() {
    let place = Place::new("twice");
    let host = Host { interfaces: vec!["lb0".into()], ..place.0.clone() };
    drop(EbpfPlane::start(&host, Mode::Native).expect("started"));
    assert_eq!(EbpfPlane::inherited_mode(&host), Some(Mode::Native));
    let again = place.start("lb0", PlaneChoice::Auto).expect("started");
    assert_eq!(again.plane.kind(), PlaneKind::Xdp);
    assert!(again.notes.iter().any(|n| n.contains("took over")), "{:?}", again.notes);
    again.plane.release(false).expect("released");
    assert_eq!(EbpfPlane::inherited_mode(&host), None);
}
