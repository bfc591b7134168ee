//! The userspace engine when descriptors run out: it waits, counts and goes on; it neither spins nor forgets anybody.
//!
//! A suite of its own, because the limit holds for the whole process.

mod stand;

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use lb_common::reason::Reason;
use lb_model::{Algorithm, Protocol};
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use stand::{Stand, V4, echo, eventually, now, within};

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn cpu() -> i64 {
    let u = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    let ms = |t: nix::sys::time::TimeVal| t.tv_sec() * 1000 + t.tv_usec() / 1000;
    ms(u.user_time()) + ms(u.system_time())
}

#[test]
fn running_out_of_descriptors_is_waited_out() {
    setrlimit(Resource::RLIMIT_NOFILE, 300, 300).expect("a lower limit");
    let b = echo(V4);
    let stand = Stand::new(Protocol::Tcp, V4, Algorithm::Maglev, &[b.address]);
    let mut before = stand.connect();
    before.write_all(b"x").expect("sent");
    before.read_exact(&mut [0; 1]).expect("echoed");

    let mut held = take_all();
    assert!(held.len() > 100);
    drop(held.pop());
    let mut client = stand.connect();
    eventually("the failure is counted", || stand.dropped(Reason::FlowTableFull) >= 1);
    let (begun, used) = (now(), cpu());
    within(Duration::from_millis(500), || false);
    let used = cpu() - used;
    assert!(used * 4 < begun.elapsed().as_millis() as i64, "{used} ms of CPU while nothing can be done");
    before.write_all(b"x").expect("sent");
    before.read_exact(&mut [0; 1]).expect("who was there is served all along");

    drop(held);
    client.write_all(b"x").expect("sent");
    client.read_exact(&mut [0; 1]).expect("who waited is served now");
}
