//! CPU time: of a process and its children, and of a whole CPU, from `/proc`.

use anyhow::{Context as _, Result};

/// Ticks a second of the times in `/proc` (USER_HZ, which is 100 on every architecture that we run on).
const HZ: f64 = 100.0;

/// Seconds that `pid` and its living children have run so far.
pub(crate) fn of_process(pid: u32) -> Result<f64> {
    let mut ticks = process_ticks(pid)?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            ticks += process_ticks(child).unwrap_or(0.0);
        }
    }
    Ok(ticks / HZ)
}

fn process_ticks(pid: u32) -> Result<f64> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th fields after it.
    let (_, fields) = stat.rsplit_once(") ").context("an odd /proc/PID/stat")?;
    let mut times = fields.split(' ').skip(11).filter_map(|f| f.parse::<f64>().ok());
    Ok(times.next().unwrap_or(0.0) + times.next().unwrap_or(0.0))
}

/// Seconds that a CPU was busy so far: everything but idle and waiting, interrupts included.
pub(crate) fn of_cpu(cpu: usize) -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|l| l.strip_prefix(&format!("cpu{cpu} "))).context("no such CPU in /proc/stat")?;
    let times: Vec<f64> = line.split_whitespace().filter_map(|t| t.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal …
    Ok([0, 1, 2, 5, 6].iter().filter_map(|i| times.get(*i)).sum::<f64>() / HZ)
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_time_is_seen() {
        let mut sum = 0u64;
        for i in 0..200_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(i));
        }
        let spent = super::of_process(std::process::id()).expect("ourselves");
        assert!(spent > 0.0 && spent < 3600.0, "{spent} {sum}");
        assert!(super::of_cpu(0).expect("CPU 0") > 0.0);
    }
}
