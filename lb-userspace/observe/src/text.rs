//! The Prometheus text exposition format, version 0.0.4.
//!
//! Written by hand: it is a page of code, and the libraries at hand emit `OpenMetrics`, whose type lines name counters
//! without their `_total`, so that a reader of this older format loses their types.

use std::fmt::Write as _;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric's name, help and kind, declared once.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

/// The page under construction.
#[derive(Debug, Default)]
pub struct Page {
    out: String,
}

impl Page {
    /// A family with all its samples; one without samples is left out.
    pub fn family<'a, const N: usize>(
        &mut self,
        family: &Family,
        labels: [&str; N],
        samples: impl IntoIterator<Item = ([&'a str; N], i128)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let name = family.name;
        self.head(family);
        for (values, value) in samples {
            self.out.push_str(name);
            for (i, (label, text)) in labels.iter().zip(values).enumerate() {
                let open = if i == 0 { '{' } else { ',' };
                let _ = write!(self.out, "{open}{label}=\"{}\"", escape(text, true));
            }
            let close = if N == 0 { "" } else { "}" };
            let _ = writeln!(self.out, "{close} {value}");
        }
    }

    fn head(&mut self, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, help) = (family.name, escape(family.help, false));
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A histogram over one label. `bounds` are the buckets' upper ends in microseconds, rising; each sample has a count
    /// for each of them and one beyond (not cumulative: the page is), and the sum of all values in seconds.
    pub fn histogram<'a>(
        &mut self,
        family: &Family,
        label: &str,
        bounds: &[u64],
        samples: impl IntoIterator<Item = (&'a str, &'a [u64], f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(family);
        let name = family.name;
        for (value, counts, sum) in samples {
            let value = escape(value, true);
            let mut so_far = 0;
            for (i, bound) in bounds.iter().enumerate() {
                so_far += counts.get(i).copied().unwrap_or(0);
                let le = *bound as f64 / 1e6;
                let _ = writeln!(self.out, "{name}_bucket{{{label}=\"{value}\",le=\"{le}\"}} {so_far}");
            }
            let all: u64 = counts.iter().sum();
            let _ = writeln!(self.out, "{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {all}");
            let _ = writeln!(self.out, "{name}_sum{{{label}=\"{value}\"}} {sum}");
            let _ = writeln!(self.out, "{name}_count{{{label}=\"{value}\"}} {all}");
        }
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let family = Family { name: "lb_x_total", help: "Things\nthat are.", kind: Kind::Counter };
        let mut page = Page::default();
        page.family(&family, ["a", "b"], [(["1", "say \"hi\" \\"], 7), (["2", ""], 0)]);
        page.family(&Family { name: "lb_none", ..family }, ["a"], []);
        page.family(&Family { name: "lb_plain", help: "Plain.", kind: Kind::Gauge }, [], [([], -1)]);
        assert_eq!(
            page.finish(),
            "# HELP lb_x_total Things\\nthat are.\n# TYPE lb_x_total counter\n\
             lb_x_total{a=\"1\",b=\"say \\\"hi\\\" \\\\\"} 7\nlb_x_total{a=\"2\",b=\"\"} 0\n\
             # HELP lb_plain Plain.\n# TYPE lb_plain gauge\nlb_plain -1\n"
        );
    }
}
