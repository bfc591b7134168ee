//! Loading the kernel's half: maps at their configured sizes, settings, programs. Attaching is another matter, so tests
//! and measurements use this too.

use std::borrow::Cow;
use std::path::Path;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use lb_common::maps::{Settings, flow_entries, fresh_entries};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::maps::Maps;
use super::object::OBJECT;
use super::ports::NatPorts;
use crate::plane::PlaneError;

/// The balancer.
pub const PROGRAM: &str = "lb_xdp";
/// Lets everything pass; on a veth's peer it makes the driver deliver what XDP sends.
pub const PASS_PROGRAM: &str = "lb_pass";

#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    pub object: &'a [u8],
    pub flow_table_size: u32,
    pub nat_ports: NatPorts,
    /// Maps are taken from here if they are pinned here, and pinned here if not. `None`: they live with this process.
    pub pins: Option<&'a Path>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            object: OBJECT,
            flow_table_size: lb_model::Host::DEFAULT_FLOW_TABLE_SIZE,
            nat_ports: NatPorts::DEFAULT,
            pins: None,
        }
    }
}

/// Sizes of the maps that go by `flow_table_size`.
#[must_use]
pub fn sizes(flow_table_size: u32) -> [(&'static str, u32); 4] {
    let (flows, fresh) = (flow_entries(flow_table_size), fresh_entries(flow_table_size));
    [("FLOWS4", flows), ("FLOWS6", flows), ("FRESH4", fresh), ("FRESH6", fresh)]
}

/// The kernel's half, loaded: open maps and the programs.
#[derive(Debug)]
pub struct Loaded {
    pub maps: Maps,
    pub programs: Programs,
}

/// The programs of the kernel's half.
#[derive(Debug)]
pub struct Programs(Ebpf);

impl Programs {
    /// A program by name; all but [`PROGRAM`] still have to be loaded.
    ///
    /// # Errors
    /// If the object has none of that name.
    pub fn get(&mut self, name: &str) -> Result<&mut Xdp, PlaneError> {
        let none = || PlaneError::Limit(format!("the eBPF object has no XDP program named {name}"));
        self.0.program_mut(name).ok_or_else(none)?.try_into().map_err(|_| none())
    }

    /// What the programs say, handed on to the log of this process; `None` if they cannot say anything.
    pub fn log(&mut self) -> Option<KernelLog> {
        match EbpfLogger::init_with_logger(&mut self.0, ToTracing) {
            Ok(log) => Some(KernelLog(log)),
            Err(e) => {
                tracing::debug!(error = %e, "the eBPF programs do not log");
                None
            }
        }
    }
}

/// Lines that the programs have written.
pub struct KernelLog(EbpfLogger<ToTracing>);

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KernelLog")
    }
}

impl KernelLog {
    /// Hands on what has come in.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

#[derive(Debug)]
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        tracing::info!(target: "lb::kernel", "{}", record.args());
    }
    fn flush(&self) {}
}

/// What became of a packet in [`Loaded::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// An `XDP_*` number.
    pub action: u32,
    pub packet: Vec<u8>,
}

impl Loaded {
    /// Creates (or takes) the maps, writes the settings and has the programs verified.
    ///
    /// # Errors
    /// [`PlaneError::Unavailable`] without the kernel's half, the privilege or the kernel's consent.
    pub fn load(options: &LoadOptions<'_>) -> Result<Self, PlaneError> {
        if options.object.is_empty() {
            return Err(absent());
        }
        // Before 5.11 maps counted against this limit; since then the call changes nothing.
        let _refused = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        let mut loader = EbpfLoader::new();
        for (name, entries) in sizes(options.flow_table_size) {
            loader.map_max_entries(name, entries);
        }
        if let Some(dir) = options.pins {
            for name in lb_common::maps::ALL {
                loader.map_pin_path(name, Cow::Owned(dir.join(name)));
            }
        }
        let mut ebpf = loader.load(options.object).map_err(|e| unavailable("loading the eBPF maps", chain(&e)))?;
        let mut maps = Maps::open(&mut |name| ebpf.take_map(name))?;
        let settings = Settings {
            layout: lb_common::layout::VERSION,
            nat_first: options.nat_ports.first,
            nat_count: options.nat_ports.count,
        };
        maps.settings.set(0, settings, 0).map_err(|e| unavailable("writing the settings", chain(&e)))?;
        let mut programs = Programs(ebpf);
        programs.get(PROGRAM)?.load().map_err(|e| unavailable("the kernel's verifier", verifier(&e)))?;
        Ok(Self { maps, programs })
    }

    /// As [`Programs::get`].
    ///
    /// # Errors
    /// If the object has none of that name.
    pub fn program_mut(&mut self, name: &str) -> Result<&mut Xdp, PlaneError> {
        self.programs.get(name)
    }

    /// Sends one packet through the balancer without any interface (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// If the kernel refuses the packet (shorter than an Ethernet header, longer than a page).
    pub fn run(&self, packet: &[u8], ingress_ifindex: Option<u32>) -> Result<Outcome, PlaneError> {
        let none = || PlaneError::Limit(format!("no program {PROGRAM}"));
        let program: &Xdp = self.programs.0.program(PROGRAM).ok_or_else(none)?.try_into().map_err(|_| none())?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&(packet.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&ingress_ifindex.unwrap_or(0).to_ne_bytes());
        let mut out = vec![0; packet.len() + 512];
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.data_out = Some(&mut out);
        options.ctx_in = ingress_ifindex.is_some().then_some(&context[..]);
        let result = program.test_run(options).map_err(|e| unavailable("BPF_PROG_TEST_RUN", chain(&e)))?;
        out.truncate(result.data_size_out as usize);
        Ok(Outcome { action: result.return_value, packet: out })
    }
}

/// This binary has no kernel's half.
pub(super) fn absent() -> PlaneError {
    unavailable("eBPF", "this lb was built without the eBPF toolchain (cargo xtask setup)".into())
}

pub(super) fn unavailable(what: &str, why: String) -> PlaneError {
    PlaneError::Unavailable { what: what.to_owned(), why }
}

/// An error and everything that caused it, on one line.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut at = e.source();
    while let Some(cause) = at {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        at = cause.source();
    }
    text
}

/// A program's load error, with the end of the verifier's log, which is where the reason stands.
fn verifier(e: &aya::programs::ProgramError) -> String {
    match e {
        aya::programs::ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().collect();
            format!("{io_error}: {}", lines[lines.len().saturating_sub(12)..].join(" | "))
        }
        other => chain(other),
    }
}
