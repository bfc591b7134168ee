//! The rig: the wrapper, what it calls, and how long that takes.

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, ProgramArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::Template;
use lb_common::reason::{REASON_SLOTS, Reason};
use lb_dataplane::ebpf::{BENCH_OBJECT, LoadOptions, Loaded};

use super::template::{self, Stage};
use super::{Case, Flows, world};

const XDP_TX: u32 = 3;
/// Room for the established flows of all cases together, and not much more: an empty table's size costs cache and TLB
/// misses that no flow causes.
const FLOW_TABLE_SIZE: u32 = 262_144;

/// What the wrapper calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    FloorTx,
    FloorParse,
    FloorNat,
    Balancer,
}

/// Packets forwarded and flows opened, of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    forwarded: u64,
    flows: u64,
}

pub(crate) struct Rig {
    pub(crate) balancer: Loaded,
    bench: Ebpf,
    template: Option<Template>,
}

impl Rig {
    pub(crate) fn new() -> Result<Self> {
        if BENCH_OBJECT.is_empty() {
            bail!("this was built without the eBPF toolchain: run `cargo xtask setup`");
        }
        let mut balancer = Loaded::load(&LoadOptions { flow_table_size: FLOW_TABLE_SIZE, ..LoadOptions::default() })?;
        world::publish(&mut balancer.maps, &Case::all())?;
        let mut bench = EbpfLoader::new().load(BENCH_OBJECT)?;
        for name in ["bench_wrap", "floor_tx", "floor_parse", "floor_nat"] {
            xdp(&mut bench, name)?.load().with_context(|| format!("the kernel refuses {name}"))?;
        }
        Ok(Self { balancer, bench, template: None })
    }

    /// From now on packets are those of `case`, from its first flow on.
    pub(crate) fn template(&mut self, case: &Case, stage: Stage) -> Result<()> {
        let template = template::of(case, stage)?;
        let mut map: Array<_, Template> = Array::try_from(self.bench.map_mut("TEMPLATE").context("no map TEMPLATE")?)?;
        map.set(0, template, 0)?;
        self.template = Some(template);
        Ok(())
    }

    /// Nanoseconds a packet, wrapper included, over `repeat` packets.
    pub(crate) fn nanos(&mut self, target: Target, repeat: u32) -> Result<f64> {
        let counter = |bench: &mut Ebpf| -> Result<u64> {
            let map: Array<_, u64> = Array::try_from(bench.map_mut("COUNTER").context("no map COUNTER")?)?;
            Ok(map.get(&0, 0)?)
        };
        self.aim(target)?;
        let template = self.template.context("no template yet")?;
        let at = counter(&mut self.bench)?;
        let data = &template.bytes[..template.length as usize];
        let options = TestRunOptions { data_in: Some(data), repeat, ..TestRunOptions::new() };
        let ran = xdp(&mut self.bench, "bench_wrap")?.test_run(options).context("BPF_PROG_TEST_RUN")?;
        if ran.return_value != XDP_TX {
            bail!("{target:?} ended with verdict {} instead of XDP_TX", ran.return_value);
        }
        if counter(&mut self.bench)? - at != u64::from(repeat) {
            bail!("the wrapper did not see {repeat} packets");
        }
        // The kernel gives the mean in whole nanoseconds.
        Ok(ran.duration.as_secs_f64() * 1e9)
    }

    fn aim(&mut self, target: Target) -> Result<()> {
        let fd = match target {
            Target::Balancer => self.balancer.program_mut("lb_xdp")?.fd()?.try_clone()?,
            Target::FloorTx => xdp(&mut self.bench, "floor_tx")?.fd()?.try_clone()?,
            Target::FloorParse => xdp(&mut self.bench, "floor_parse")?.fd()?.try_clone()?,
            Target::FloorNat => xdp(&mut self.bench, "floor_nat")?.fd()?.try_clone()?,
        };
        let mut targets = ProgramArray::try_from(self.bench.map_mut("TARGETS").context("no map TARGETS")?)?;
        targets.set(0, &fd, 0).context("the wrapper cannot call the target")
    }

    pub(crate) fn counts(&self, case: &Case) -> Result<Counted> {
        let number = world::service(case);
        let verdicts = self.balancer.maps.verdicts.get(&(number * REASON_SLOTS + Reason::Forwarded as u32), 0)?;
        let traffic = self.balancer.maps.service_traffic.get(&number, 0)?;
        Ok(Counted { forwarded: verdicts.iter().sum(), flows: traffic.iter().map(|t| t.flows).sum() })
    }

    /// Every packet since `before` was forwarded, and opened a flow if that is the case's point and none otherwise.
    pub(crate) fn expect_forwarded(&self, case: &Case, before: Counted, packets: u32) -> Result<()> {
        let now = self.counts(case)?;
        let forwarded = now.forwarded - before.forwarded;
        let flows = now.flows - before.flows;
        let opened = if case.flows == Flows::New { u64::from(packets) } else { 0 };
        if forwarded != u64::from(packets) || flows != opened {
            bail!("{}: of {packets} packets {forwarded} were forwarded and {flows} opened a flow", case.name());
        }
        Ok(())
    }
}

fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
