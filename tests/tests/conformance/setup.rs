//! What a conformance test sets up: pools, services and backends for one engine, protocol and family.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;
use lb_tests::daemon::Engine;
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::server::{Ports, Server};
use lb_tests::load::spread::Protocol;

pub(crate) const ALGORITHMS: [&str; 6] =
    ["maglev", "source-hash", "round-robin", "weighted-round-robin", "least-connections", "random"];
/// One backend each.
pub(crate) const WEIGHTS: [u16; 3] = [2, 3, 4];
/// The backends' ports, one per algorithm; the health check's besides.
const FIRST_PORT: u16 = 7000;
/// What a NAT service listens on is another port than its backends'.
const NAT_OFFSET: u16 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Nat,
    Dsr,
}

impl Forward {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) forward: Forward,
    pub(crate) algorithm: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) engine: Engine,
    pub(crate) protocol: Protocol,
    pub(crate) family: Family,
    pub(crate) topology: Topology,
}

impl Setup {
    pub(crate) fn cases(self) -> Vec<Case> {
        let ways: &[Forward] =
            if self.engine == Engine::Userspace { &[Forward::Nat] } else { &[Forward::Nat, Forward::Dsr] };
        ways.iter().flat_map(|&forward| ALGORITHMS.map(|algorithm| Case { forward, algorithm })).collect()
    }

    pub(crate) fn name(self, case: Case) -> String {
        format!("{}-{}-{}-{}", case.forward.as_str(), self.protocol.as_str(), self.family.as_str(), case.algorithm)
    }

    pub(crate) fn backend_port(case: Case) -> u16 {
        FIRST_PORT + (0..).zip(ALGORITHMS).find(|(_, a)| *a == case.algorithm).map_or(0, |(i, _)| i)
    }

    pub(crate) fn backend(self, index: usize, case: Case) -> SocketAddr {
        SocketAddr::new(addresses::backend(index, self.family), Self::backend_port(case))
    }

    pub(crate) fn service(self, case: Case) -> SocketAddr {
        let port = Self::backend_port(case);
        match case.forward {
            Forward::Nat => SocketAddr::new(addresses::vip(10, self.family), port + NAT_OFFSET),
            Forward::Dsr => SocketAddr::new(addresses::vip(20, self.family), port),
        }
    }

    pub(crate) fn config(self) -> String {
        self.config_of(&self.cases())
    }

    /// The backends' lines answer the health check, also where the service is UDP.
    pub(crate) fn config_of(self, cases: &[Case]) -> String {
        let mut out = String::new();
        for &case in cases {
            let name = self.name(case);
            let _ = writeln!(out, "[[pool]]\nname = \"{name}\"\nalgorithm = \"{}\"\nbackends = [", case.algorithm);
            for (index, weight) in WEIGHTS.iter().enumerate() {
                let _ = writeln!(out, "  {{ address = \"{}\", weight = {weight} }},", self.backend(index, case));
            }
            let _ = writeln!(
                out,
                "]\n[pool.health]\ntype = \"tcp\"\ninterval = \"500ms\"\ntimeout = \"400ms\"\nrise = 1\nfall = 10\n"
            );
            let (listen, protocol) = (self.service(case), self.protocol.as_str());
            let _ =
                writeln!(out, "[[service]]\nname = \"{name}\"\nlisten = \"{listen}/{protocol}\"\npool = \"{name}\"");
            let _ = writeln!(out, "forward = \"{}\"\n", case.forward.as_str());
        }
        out
    }

    pub(crate) fn servers(self, lab: &Lab) -> Result<Vec<Server>> {
        let all: Vec<u16> = (0..).zip(ALGORITHMS).map(|(i, _)| FIRST_PORT + i).collect();
        let udp = if self.protocol == Protocol::Udp { all.clone() } else { Vec::new() };
        lab.backends()
            .iter()
            .map(|b| Server::start(b, &Ports { lines: all.clone(), http: vec![], udp: udp.clone() }))
            .collect()
    }
}
