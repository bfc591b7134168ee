//! `cargo xtask test`: everything that must hold, in one go, with one sum at the end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{house, setup, shell, tidy};

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

pub(crate) fn run(quick: bool) -> Result<ExitCode> {
    let start = shell::now();
    if !quick && !shell::is_root() {
        bail!("the lab needs root for its network namespaces; as an ordinary user run `cargo xtask test --quick`");
    }
    setup::ensure(if quick { setup::Scope::Build } else { setup::Scope::Lab })?;
    let mut report = Report::default();
    report.step("fmt", || check(shell::cargo().args(["fmt", "--all", "--check"])));
    report.step("tidy", || Ok(Tally::of(tidy::run()? == ExitCode::SUCCESS)));
    report
        .step("clippy", || check(shell::cargo().args(["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"])));
    report.step("rooms", || tests(shell::cargo().args(["test", "--no-fail-fast", "--workspace"]).args(NOT_ROOMS)));
    lab_suites(&mut report, quick)?;
    println!("\n── sum ({})", shell::took(start));
    for line in &report.lines {
        println!("{line}");
    }
    println!("\n{} passed, {} failed", report.sum.passed, report.sum.failed);
    Ok(if report.sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The kernel's half builds for the BPF target only; the outside suites come later, one by one.
const NOT_ROOMS: [&str; 4] = ["--exclude", "lb-ebpf", "--exclude", "lb-tests"];

/// Suites whose name begins so run programs by `test_run`: they need root, and no namespaces.
const WITHOUT_NAMESPACES: &str = "packet_";

fn lab_suites(report: &mut Report, quick: bool) -> Result<()> {
    let suites = suites()?;
    let chosen: Vec<_> = suites.iter().filter(|s| !quick || s.starts_with(WITHOUT_NAMESPACES)).collect();
    if quick && !shell::is_root() {
        println!("\nleft out, for they need root: {chosen:?}");
        return Ok(());
    }
    let mut built = false;
    report.step("build", || {
        // `--bins` for the lab's own programs; the suites find the product by `LB_BIN`.
        let tally = check(shell::cargo().args(["build", "--quiet", "-p", "lb", "-p", "lb-tests", "--bins"]))?;
        built = tally.failed == 0;
        Ok(tally)
    });
    if !built {
        return Ok(());
    }
    let lb = house::program("lb", false)?;
    report.step("lab itself", || tests(cargo_test(&["--lib", "--bins"]).env("LB_BIN", &lb)));
    for suite in chosen {
        report.step(suite, || tests(cargo_test(&["--test", suite]).env("LB_BIN", &lb)));
    }
    Ok(())
}

fn cargo_test(which: &[&str]) -> Command {
    let mut c = shell::cargo();
    c.args(["test", "--no-fail-fast", "-p", "lb-tests"]).args(which);
    c
}

/// The outside suites: the test targets of `lb-tests`, those without namespaces first.
fn suites() -> Result<Vec<String>> {
    let metadata = house::metadata()?;
    let package = metadata.packages.iter().find(|p| p.name == "lb-tests").context("no package lb-tests")?;
    let mut names: Vec<String> = package.targets.iter().filter(|t| t.is_test()).map(|t| t.name.clone()).collect();
    names.sort_by_key(|n| (!n.starts_with(WITHOUT_NAMESPACES), n.clone()));
    Ok(names)
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
