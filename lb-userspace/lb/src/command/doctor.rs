//! `lb doctor`: what this host can do, and what to change.

use crate::cli::Global;
use crate::exit::Outcome;
use crate::print;

mod host;
mod link;
mod netlink;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    Good,
    /// Works, but slower or with less than could be.
    Limited,
    /// Stops something; `advice` says what to do.
    Bad,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Finding {
    what: String,
    grade: Grade,
    found: String,
    advice: Option<String>,
}

impl Finding {
    fn new(what: impl Into<String>, grade: Grade, found: impl Into<String>) -> Self {
        Self { what: what.into(), grade, found: found.into(), advice: None }
    }
    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

pub(crate) fn doctor(global: &Global) -> Outcome {
    let mut findings = host::findings();
    findings.extend(link::findings());
    print::either(global.json, &findings, |findings| render(findings))
}

fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.what.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for f in findings {
        let (mark, style) = match f.grade {
            Grade::Good => ("ok  ", print::GOOD),
            Grade::Limited => ("note", print::WARN),
            Grade::Bad => ("bad ", print::BAD),
        };
        out.push_str(&format!("{}  {:<width$}  {}\n", print::paint(style, mark), f.what, f.found));
        if let Some(advice) = &f.advice {
            out.push_str(&format!("      {:<width$}  {}\n", "", print::paint(print::DIM, advice)));
        }
    }
    out
}
