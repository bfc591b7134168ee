//! Fuzz targets, each for a bounded time: what strangers write (paths, PROXY headers, cache directives) and what operators do.

use anyhow::{Result, bail};

use crate::{house, shell};

const SECONDS: u32 = 30;

/// Every target of `fuzz/` in turn; false if one found something.
pub(crate) fn run() -> Result<bool> {
    if shell::find("cargo-fuzz").is_none() {
        println!("fuzz: installing cargo-fuzz");
        shell::run(shell::cargo().args(["install", "--quiet", "--locked", "cargo-fuzz"]))?;
    }
    let directory = house::root().join("fuzz");
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(directory.join("fuzz_targets"))? {
        targets.extend(entry?.path().file_stem().and_then(|s| s.to_str()).map(str::to_owned));
    }
    if targets.is_empty() {
        bail!("there are no fuzz targets");
    }
    targets.sort();
    let mut clean = true;
    for target in targets {
        println!("fuzz: {target}, {SECONDS} s");
        let mut c = shell::cargo();
        // cargo-fuzz passes -Z flags, which a stable compiler takes only so.
        c.env("RUSTC_BOOTSTRAP", "1").env("LB_EBPF", "off").current_dir(&directory);
        c.args(["fuzz", "run", &target, "--", &format!("-max_total_time={SECONDS}"), "-rss_limit_mb=2048"]);
        clean &= shell::status(&mut c)?.success();
    }
    Ok(clean)
}
