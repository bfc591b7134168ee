//! A case: a world, packets sent through it one after another, and what must come of each. [`check`] is the only runner.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use lb_common::reason::Reason;
use lb_common::service::forward;

use super::compare::{self, Moved};
use super::layers::{FIRST_REAL_PORT, Frame};
use super::program::{Program, action};
use super::shelf::{self, Borrowed};
use super::sums;
use super::world::World;

/// One row of a table of cases.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub world: World,
    pub steps: Vec<Step>,
}

/// What a step does to the program.
type Deed = Box<dyn Fn(&mut Program)>;

pub enum Step {
    /// A packet in; what must come out.
    Send { what: String, frame: Box<Frame>, expect: Expect },
    /// The control plane changes the world: backends and pools are published anew.
    Change { what: String, change: Box<dyn Fn(&mut World)> },
    /// Something happens to the maps.
    Do { what: String, deed: Deed },
    /// The kernel counts so many active flows on a backend.
    Active { backend: u32, flows: u64 },
    /// The flow tables hold so many entries: fresh ones, established ones.
    Held { fresh: usize, established: usize },
    /// The only forward half there is stands in this state.
    State(u8),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Step {
    fn name(&self) -> String {
        match self {
            Self::Send { what, .. } | Self::Change { what, .. } | Self::Do { what, .. } => what.clone(),
            Self::Active { backend, flows } => format!("backend {backend} holds {flows} active flows"),
            Self::Held { fresh, established } => format!("{fresh} fresh and {established} established entries"),
            Self::State(s) => format!("the flow is {}", lb_common::flow::state::name(*s)),
        }
    }
}

/// What must come of one packet.
#[derive(Clone, Debug)]
pub struct Expect {
    pub action: u32,
    /// `None`: the packet as it came.
    pub frame: Option<Box<Frame>>,
    pub service: u32,
    pub reason: Reason,
    /// Client → backend: which backend, and whether the flow is new.
    pub to: Option<(u32, bool)>,
    /// Counted beside the verdict's own reason.
    pub also: Option<Reason>,
}

#[must_use]
pub fn pass(reason: Reason) -> Expect {
    Expect { action: action::PASS, frame: None, service: 0, reason, to: None, also: None }
}

#[must_use]
pub fn drop(service: u32, reason: Reason) -> Expect {
    Expect { action: action::DROP, frame: None, service, reason, to: None, also: None }
}

/// Client → backend, as the first packet of a flow.
#[must_use]
pub fn opens(service: u32, backend: u32, frame: Frame) -> Expect {
    let (reason, frame) = (Reason::Forwarded, Some(Box::new(frame)));
    Expect { action: action::TX, frame, service, reason, to: Some((backend, true)), also: None }
}

/// Client → backend, of a flow that is known.
#[must_use]
pub fn forwards(service: u32, backend: u32, frame: Frame) -> Expect {
    Expect { to: Some((backend, false)), ..opens(service, backend, frame) }
}

/// Sent out under a reason that counts no traffic: backend → client, echo replies, resets, ICMP errors.
#[must_use]
pub fn sends(service: u32, reason: Reason, frame: Frame) -> Expect {
    Expect { action: action::TX, frame: Some(Box::new(frame)), service, reason, to: None, also: None }
}

impl Expect {
    /// The packet counts under a second reason of its service.
    #[must_use]
    pub fn also(mut self, reason: Reason) -> Self {
        self.also = Some(reason);
        self
    }

    /// Out of another interface.
    #[must_use]
    pub fn redirected(mut self) -> Self {
        self.action = action::REDIRECT;
        self
    }
}

impl Case {
    #[must_use]
    pub fn new(name: impl Into<String>, world: World) -> Self {
        Self { name: name.into(), world, steps: Vec::new() }
    }

    #[must_use]
    pub fn send(mut self, what: &str, frame: Frame, expect: Expect) -> Self {
        self.steps.push(Step::Send { what: what.to_owned(), frame: Box::new(frame), expect });
        self
    }

    #[must_use]
    pub fn change(mut self, what: &str, change: impl Fn(&mut World) + 'static) -> Self {
        self.steps.push(Step::Change { what: what.to_owned(), change: Box::new(change) });
        self
    }

    #[must_use]
    pub fn then(mut self, what: &str, deed: impl Fn(&mut Program) + 'static) -> Self {
        self.steps.push(Step::Do { what: what.to_owned(), deed: Box::new(deed) });
        self
    }

    #[must_use]
    pub fn active(mut self, backend: u32, flows: u64) -> Self {
        self.steps.push(Step::Active { backend, flows });
        self
    }

    #[must_use]
    pub fn held(mut self, fresh: usize, established: usize) -> Self {
        self.steps.push(Step::Held { fresh, established });
        self
    }

    #[must_use]
    pub fn state(mut self, state: u8) -> Self {
        self.steps.push(Step::State(state));
        self
    }
}

/// Runs a case on a program that has seen nothing of it.
///
/// # Errors
/// What differed, in lines one can read: verdict, packet, checksum or counter.
pub fn check(case: &Case) -> Result<(), String> {
    let mut run = Run { program: shelf::borrow(&case.world), world: case.world.clone(), names: BTreeMap::new() };
    for (i, step) in case.steps.iter().enumerate() {
        run.step(step).map_err(|e| format!("{}, step {} ({}): {e}", case.name, i + 1, step.name()))?;
    }
    Ok(())
}

/// Runs a table of cases and reports every failure, not just the first.
///
/// # Panics
/// If a case failed.
pub fn check_all(table: &str, cases: &[Case]) {
    let failures: Vec<String> = cases.iter().filter_map(|c| check(c).err()).collect();
    println!("{table}: {} cases, {} failed", cases.len(), failures.len());
    assert!(failures.is_empty(), "{} of {} cases failed\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
}

/// Source and destination address and destination port of a flow towards its backend.
type Tuple = (IpAddr, IpAddr, u16);

struct Run {
    program: Borrowed,
    world: World,
    /// Ports that names stand for, and the rest of the tuple that makes them unique.
    names: BTreeMap<u16, (u16, Tuple)>,
}

impl Run {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send { frame, expect, .. } => self.send(frame, expect),
            Step::Change { change, .. } => {
                change(&mut self.world);
                self.republish();
                Ok(())
            }
            Step::Do { deed, .. } => {
                deed(&mut self.program);
                Ok(())
            }
            Step::Active { backend, flows } => compare::equal("active flows", flows, &self.program.active(*backend)),
            Step::Held { fresh, established } => {
                let entries = self.program.flows();
                let young = entries.iter().filter(|e| e.0.starts_with("FRESH")).count();
                compare::equal("fresh, established", &(*fresh, *established), &(young, entries.len() - young))
            }
            Step::State(state) => self.state(*state),
        }
    }

    fn republish(&mut self) {
        for n in 1..=self.world.backends.len() as u32 {
            self.program.publish_backend(&self.world, n);
        }
        for n in 1..=self.world.pools.len() as u32 {
            self.program.publish_pool(&self.world, n);
        }
    }

    fn state(&self, state: u8) -> Result<(), String> {
        let entries = self.program.flows();
        let forward: Vec<_> = entries.iter().filter(|e| e.2.side == lb_common::flow::side::FORWARD).collect();
        match forward[..] {
            [one] => compare::equal("state", &state, &one.2.state),
            _ => Err(format!("there are {} forward halves, not one", forward.len())),
        }
    }

    fn send(&mut self, frame: &Frame, expect: &Expect) -> Result<(), String> {
        let input = self.resolve(frame)?.encode();
        let before = self.program.counts();
        let ran = self.program.run(&input).map_err(|e| format!("the kernel does not run it: {e}"))?;
        let moved = Moved::between(&before, &self.program.counts());

        // Counters first: a wrong verdict shows its reason there.
        compare::counters(&self.expected_counts(expect, &input), &moved)?;
        compare::equal("action", &compare::action_name(expect.action), &compare::action_name(ran.action))?;
        let Some(wanted) = &expect.frame else { return compare::frames(&input, &ran.frame) };
        let wanted = self.learn(wanted, &ran.frame)?;
        compare::frames(&wanted.encode(), &ran.frame)?;
        // What comes in wrong goes out wrong; what comes in right must go out right.
        if sums::verify(&input).is_ok() { sums::verify(&ran.frame) } else { Ok(()) }
    }

    /// What an expectation says about counters.
    fn expected_counts(&self, expect: &Expect, input: &[u8]) -> Moved {
        let mut moved = Moved::default();
        moved.verdicts.insert((expect.service, expect.reason), 1);
        if let Some(second) = expect.also {
            moved.verdicts.insert((expect.service, second), 1);
        }
        if let Some((backend, new)) = expect.to {
            let traffic = (1, compare::layer3_len(input), u64::from(new));
            moved.services.insert(expect.service, traffic);
            moved.backends.insert(backend, traffic);
        }
        moved
    }

    /// The frame with names replaced by what they stand for.
    fn resolve(&self, frame: &Frame) -> Result<Frame, String> {
        let (mut frame, mut unknown) = (frame.clone(), None);
        frame.each_port(&mut |p| match self.names.get(p) {
            Some(named) => *p = named.0,
            None if *p > 0 && *p < FIRST_REAL_PORT => unknown = Some(*p),
            None => {}
        });
        unknown.map_or(Ok(frame), |name| Err(format!("port name {name} stands for nothing yet")))
    }

    /// Like [`Run::resolve`]; an unknown name as source port is bound to what the program chose, if it was free to.
    fn learn(&mut self, wanted: &Frame, got: &[u8]) -> Result<Frame, String> {
        let (source, target) = wanted.clone().ports_mut().map_or((0, 0), |p| (*p.0, *p.1));
        if source > 0 && source < FIRST_REAL_PORT && !self.names.contains_key(&source) {
            let port = compare::source_port(got).ok_or("the packet that came out has no ports")?;
            let (first, count) = self.world.nat_ports;
            if port < first || u32::from(port) >= u32::from(first) + u32::from(count) {
                return Err(format!("NAT took port {port}, which is outside its range {first} + {count}"));
            }
            let bound = (port, (wanted.ip.src, wanted.ip.dst, target));
            if let Some((name, _)) = self.names.iter().find(|n| *n.1 == bound) {
                return Err(format!("NAT took port {port}, which flow {name} holds"));
            }
            self.names.insert(source, bound);
        }
        self.resolve(wanted)
    }
}

/// How a way of forwarding is called in case names.
#[must_use]
pub const fn way(how: u8) -> &'static str {
    match how {
        forward::NAT => "nat",
        forward::DSR => "dsr",
        _ => "other",
    }
}
