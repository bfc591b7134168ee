//! `cargo xtask test`: everything that must hold, in one go, with one sum at the end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::programs::{self, Program};
use crate::{fuzz, house, setup, shell, tidy};

/// What one step of the suite came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    const PASSED: Self = Self { passed: 1, failed: 0, ignored: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1, ignored: 0 };

    fn of(held: bool) -> Self {
        if held { Self::PASSED } else { Self::FAILED }
    }
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Steps as they are done, for the table at the end.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    sum: Tally,
}

impl Report {
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<Tally>) {
        println!("\n── {name}");
        let start = shell::now();
        let tally = run().unwrap_or_else(|e| {
            eprintln!("error: {e:#}");
            Tally::FAILED
        });
        let word = if tally.failed == 0 { "ok" } else { "FAILED" };
        let Tally { passed, failed, ignored } = tally;
        let left = if ignored > 0 { format!(", {ignored} ignored") } else { String::new() };
        self.lines.push(format!(
            "  {name:<28} {word:<7} {passed:>5} passed, {failed} failed{left:<12} {:>12}",
            shell::took(start)
        ));
        self.sum.add(tally);
    }
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What needs no namespaces.
    Quick,
    Whole,
    /// And loads of a minute, and every fuzz target for half a one.
    Long,
}

pub(crate) fn run(length: Length) -> Result<ExitCode> {
    let start = shell::now();
    let quick = length == Length::Quick;
    if !quick && !shell::is_root() {
        bail!("the lab needs root for its network namespaces; as an ordinary user run `cargo xtask test --quick`");
    }
    setup::ensure(if quick { setup::Scope::Build } else { setup::Scope::Lab })?;
    let mut report = Report::default();
    report.step("fmt", || check(shell::cargo().args(["fmt", "--all", "--check"])));
    report.step("tidy", || Ok(Tally::of(tidy::run()? == ExitCode::SUCCESS)));
    report
        .step("clippy", || check(shell::cargo().args(["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"])));
    let mut built = Vec::new();
    report.step("build", || {
        built = programs::build(&SELECTION)?;
        Ok(Tally::of(!built.is_empty()))
    });
    suites(&mut report, &built, length)?;
    if length == Length::Long {
        report.step("fuzz", || Ok(Tally::of(fuzz::run()?)));
    }
    println!("\n── sum ({})", shell::took(start));
    for line in &report.lines {
        println!("{line}");
    }
    println!("\n{} passed, {} failed", report.sum.passed, report.sum.failed);
    Ok(if report.sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What every step builds from: all but the kernel's half, which builds for the BPF target only. One selection for all of
/// them, because cargo unites features over what is selected: another one builds the dependencies once more.
pub(crate) const SELECTION: [&str; 3] = ["--workspace", "--exclude", "lb-ebpf"];
/// The package that looks at the product from outside; each of its suites is a step of its own.
const OUTSIDE: &str = "lb-tests";

/// The tests beside the code and those of each room from outside as one step; then the suites that look at the product.
fn suites(report: &mut Report, built: &[Program], length: Length) -> Result<()> {
    let quick = length == Length::Quick;
    let lb = house::program("lb", false)?;
    let run = |program: &Program| {
        let mut c = program.command();
        c.env("LB_BIN", &lb);
        if length == Length::Long {
            c.env("LB_LONG", "1");
        }
        println!("   {} {}", program.package, program.name);
        tests(&mut c)
    };
    let outside = |p: &&Program| p.package == OUTSIDE && p.is_suite;
    report.step("rooms", || {
        let mut sum = Tally::default();
        for program in built.iter().filter(|p| !outside(p) && (!quick || !p.is_suite || is_quick(p))) {
            sum.add(run(program)?);
        }
        Ok(sum)
    });
    let (mut chosen, left): (Vec<&Program>, Vec<&Program>) =
        built.iter().filter(outside).partition(|p| !quick || is_quick(p));
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|s| s.name.as_str()).collect();
        println!("\nleft out, for they need root or namespaces: {}", names.join(", "));
    }
    chosen.sort_by_key(|p| (!is_quick(p), p.name.clone()));
    for program in chosen {
        report.step(&program.name, || run(program));
    }
    Ok(())
}

/// Runs without namespaces, and without root if we are not. Suites that run single packets through the loaded program
/// (`packet…`) need root and no namespace; those whose first line says `no privilege needed` need neither.
fn is_quick(program: &Program) -> bool {
    if program.head.contains("no privilege needed") {
        return true;
    }
    let root = (program.package == OUTSIDE) || program.head.contains("root");
    let light =
        !program.head.contains("namespace") && (program.package != OUTSIDE || program.name.starts_with("packet"));
    (shell::is_root() || !root) && light
}

fn check(c: &mut Command) -> Result<Tally> {
    Ok(Tally::of(shell::status(c)?.success()))
}

/// Runs test programs, shows what they print, and adds up what they say. A run that ends badly without a failed test
/// (it did not compile, or was killed) counts as one failure.
fn tests(c: &mut Command) -> Result<Tally> {
    let mut child = c.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", shell::shown(c)))?;
    let out = child.stdout.take().context("no output to read")?;
    let mut tally = Tally::default();
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if let Some(t) = result_line(&line) {
            tally.add(t);
        }
    }
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result_line(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, counts) = rest.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split(';') {
        let mut words = part.split_whitespace();
        let (Some(n), Some(what)) = (words.next().and_then(|n| n.parse().ok()), words.next()) else { continue };
        match what {
            "passed" => tally.passed = n,
            "failed" => tally.failed = n,
            "ignored" => tally.ignored = n,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some(Tally { passed: 12, failed: 3, ignored: 1 }));
        assert_eq!(result_line("test a::b ... ok"), None);
    }

    #[test]
    fn failing_programs_are_counted() {
        let sh = |script: &str| tests(Command::new("sh").args(["-c", script])).expect("sh runs");
        let ok = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'";
        assert_eq!(sh(ok), Tally { passed: 2, failed: 0, ignored: 0 });
        assert_eq!(sh(&format!("{ok}; exit 101")), Tally { passed: 2, failed: 1, ignored: 0 });
        assert_eq!(sh("kill -9 $$"), Tally::FAILED);
    }
}
