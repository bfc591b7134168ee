//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and its argument.

use opentelemetry::TraceId;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    /// What the parent says holds.
    by_parent: bool,
    /// Of traces that begin here; 0 to 1.
    share: f64,
}

impl Sampler {
    /// The specification's default: `parentbased_always_on`.
    pub(super) const ALWAYS: Self = Self { by_parent: true, share: 1.0 };

    /// # Errors
    /// In words.
    pub(super) fn read(name: Option<&str>, argument: Option<&str>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(Self::ALWAYS) };
        let (by_parent, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let share = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                let text = argument.unwrap_or("1");
                let share = text.parse().ok().filter(|s| (0.0..=1.0).contains(s));
                share.ok_or_else(|| format!("OTEL_TRACES_SAMPLER_ARG={text}: not a number from 0 to 1"))?
            }
            _ => return Err(format!("OTEL_TRACES_SAMPLER={name}: not a sampler that is known")),
        };
        Ok(Self { by_parent, share })
    }

    pub(super) fn takes(self, parent: Option<bool>, trace: TraceId) -> bool {
        if let Some(sampled) = parent.filter(|_| self.by_parent) {
            return sampled;
        }
        // The same trace is taken or left by everybody who uses its lower half, as the specification has it.
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        self.share >= 1.0 || place < (self.share * (1u64 << 63) as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, argument: Option<&str>) -> Sampler {
        Sampler::read(Some(name), argument).expect("a sampler")
    }

    #[test]
    fn samplers_by_name() {
        let trace = TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        for (sampler, want) in [
            (Sampler::read(None, None).expect("a sampler"), [true, false, true]),
            (read("always_on", None), [true, true, true]),
            (read("always_off", None), [false, false, false]),
            (read("parentbased_always_off", None), [false, false, true]),
            (read("parentbased_traceidratio", Some("1")), [true, false, true]),
            (read("traceidratio", Some("0.7")), [true, true, true]),
            (read("traceidratio", Some("0.6")), [false, false, false]),
        ] {
            let parents = [None, Some(false), Some(true)];
            assert_eq!(parents.map(|p| sampler.takes(p, trace)), want, "{sampler:?}");
        }
    }

    #[test]
    fn a_share_is_kept() {
        let sampler = read("traceidratio", Some("0.25"));
        let taken = (0..10_000).filter(|_| sampler.takes(None, TraceId::from(rand::random::<u128>()))).count();
        assert!((2_000..3_000).contains(&taken), "{taken}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (name, argument) in [("jaeger_remote", None), ("traceidratio", Some("2")), ("traceidratio", Some("x"))] {
            assert!(Sampler::read(Some(name), argument).is_err(), "{name}");
        }
    }
}
