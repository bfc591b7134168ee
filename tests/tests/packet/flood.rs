//! A flood of new flows pushes out other new flows, never an established one.

use lb_common::flow::side;
use lb_common::net::proto;
use lb_tests::packet::cast::{BALANCER, Family, ROUTER, backend_mac};
use lb_tests::packet::layers::{self, Frame};
use lb_tests::packet::program::{Program, action};
use lb_tests::packet::shelf;

use crate::row::{BACKEND_PORT, CLIENT_PORT, Row, VIP_PORT, rows};

const ESTABLISHED: u16 = 40;
/// Ten times what the table of fresh flows holds.
const FLOOD: u32 = 20_000;

/// Opens a flow from `port` and completes it; returns the backend's next packet to it (NAT).
fn establish(row: Row, program: &Program, port: u16) -> Option<Frame> {
    let sent = |f: &Frame| {
        let ran = program.run(&f.encode()).expect("runs");
        assert_eq!(ran.action, action::TX, "{row:?}");
        ran.frame
    };
    let out = sent(&row.first_from(1, port));
    let answer = row.is_nat().then(|| {
        let name = lb_tests::packet::compare::source_port(&out).expect("a port");
        let f = row.family;
        layers::ip(backend_mac(1), BALANCER, f.backend(1), f.snat(1)).tcp(BACKEND_PORT, name, "SA")
    });
    answer.iter().for_each(|a| drop(sent(a)));
    sent(&row.next_from(1, port));
    answer
}

fn syn_of_a_stranger(f: Family, n: u32) -> Frame {
    let client = f.client(2 + (n % 200) as u8);
    layers::ip(ROUTER, BALANCER, client, f.vip()).tcp(1024 + (n / 200) as u16, VIP_PORT, "S")
}

#[test]
fn established_flows_outlive_a_flood() {
    for row in rows(proto::TCP) {
        let program = shelf::borrow(&row.world(1));
        let ports = || (0..ESTABLISHED).map(|n| CLIENT_PORT + n);
        let answers: Vec<Option<Frame>> = ports().map(|p| establish(row, &program, p)).collect();
        let mut carried = 0;
        for n in 0..FLOOD {
            let ran = program.run(&syn_of_a_stranger(row.family, n).encode()).expect("runs");
            carried += u32::from(ran.action == action::TX);
        }
        assert_eq!(carried, FLOOD, "{row:?}: new flows take the place of older new ones, ports of NAT included");
        let entries = program.flows();
        let forward = |t: &str| entries.iter().filter(|e| e.0.starts_with(t) && e.2.side == side::FORWARD).count();
        assert_eq!(forward("FLOWS"), usize::from(ESTABLISHED), "{row:?}");
        assert!(forward("FRESH") < 2100, "{row:?}: the table of fresh flows is bounded");
        for (port, answer) in ports().zip(answers) {
            let ran = program.run(&row.next_from(1, port).encode()).expect("runs");
            assert_eq!(ran.action, action::TX, "{row:?}: port {port}");
            if let Some(a) = answer {
                let back = program.run(&a.encode()).expect("runs");
                let wanted = row.back(a).ports(VIP_PORT, port).encode();
                lb_tests::packet::compare::frames(&wanted, &back.frame).unwrap_or_else(|e| panic!("{row:?}: {e}"));
            }
        }
        assert_eq!(program.active(1), u64::from(ESTABLISHED), "{row:?}");
    }
}
