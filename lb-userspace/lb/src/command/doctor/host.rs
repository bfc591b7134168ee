//! The host: kernel, permissions, limits.

use std::fs;
use std::path::Path;

use lb_model::Host;

use super::{Finding, Grade};

pub(super) fn findings() -> Vec<Finding> {
    vec![engine(), kernel(), privileges(), btf(), bpffs(), jit(), memlock(), files(), ports()]
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

fn engine() -> Finding {
    let what = "this binary";
    if lb_dataplane::ebpf::object::is_present() {
        Finding::new(what, Grade::Good, "carries the XDP program")
    } else {
        Finding::new(what, Grade::Limited, "was built without the eBPF toolchain: userspace data plane only")
            .advise("build where rust-src and bpf-linker are installed")
    }
}

/// The oldest kernel that has all the program needs: managed neighbours and multi-buffer XDP are the youngest parts.
const WANTED: (u32, u32) = (5, 18);

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    match version(&release) {
        Some(v) if v >= WANTED => Finding::new("kernel", Grade::Good, release),
        _ => Finding::new("kernel", Grade::Limited, format!("{release}: older than {}.{}", WANTED.0, WANTED.1))
            .advise("the XDP data plane may not load; the userspace one works on any"),
    }
}

/// `6.18.0-rc1` is (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

fn privileges() -> Finding {
    let held = read("/proc/self/status").as_deref().and_then(effective).unwrap_or(0);
    let has = |cap: u32| held >> cap & 1 == 1;
    let missing: Vec<_> = [
        (has(NET_ADMIN), "CAP_NET_ADMIN"),
        // Before 5.8, and still, the older capability holds this one.
        (has(BPF) || has(SYS_ADMIN), "CAP_BPF"),
    ]
    .into_iter()
    .filter_map(|(has, name)| (!has).then_some(name))
    .collect();
    if missing.is_empty() {
        Finding::new("privileges", Grade::Good, "CAP_BPF and CAP_NET_ADMIN")
    } else {
        Finding::new(
            "privileges",
            Grade::Limited,
            format!("without {}: userspace data plane only", missing.join(" and ")),
        )
        .advise("run as root, or give the service AmbientCapabilities=CAP_BPF CAP_NET_ADMIN")
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn btf() -> Finding {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Finding::new("BTF", Grade::Good, "/sys/kernel/btf/vmlinux")
    } else {
        Finding::new("BTF", Grade::Limited, "the kernel has none (CONFIG_DEBUG_INFO_BTF)")
            .advise("not needed to forward; tools such as bpftool show less")
    }
}

fn bpffs() -> Finding {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let at = mounts.lines().filter_map(|l| {
        let mut fields = l.split(' ');
        let (at, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "bpf").then(|| at.to_owned())
    });
    let at: Vec<_> = at.collect();
    let wanted = Path::new(Host::DEFAULT_PIN_DIR).parent().unwrap_or(Path::new("/"));
    if at.iter().any(|a| Path::new(a) == wanted) {
        Finding::new("bpffs", Grade::Good, format!("mounted at {}", wanted.display()))
    } else {
        Finding::new("bpffs", Grade::Limited, format!("not mounted at {}", wanted.display()))
            .advise(format!("lb run mounts it if it may; or: mount -t bpf bpf {}", wanted.display()))
    }
}

fn jit() -> Finding {
    match read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => Finding::new("BPF JIT", Grade::Bad, "off: programs are interpreted, many times slower")
            .advise("sysctl net.core.bpf_jit_enable=1"),
        Some(n) => Finding::new("BPF JIT", Grade::Good, format!("on ({n})")),
        None => Finding::new("BPF JIT", Grade::Good, "cannot be switched off, or not to be seen from here"),
    }
}

fn memlock() -> Finding {
    let what = "locked memory";
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    if version(&release).is_some_and(|v| v >= (5, 11)) {
        return Finding::new(what, Grade::Good, "maps are accounted to the cgroup, no limit to raise");
    }
    match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft >= 1 << 30 => Finding::new(what, Grade::Good, "enough"),
        _ => Finding::new(what, Grade::Bad, "too little for the maps").advise("LimitMEMLOCK=infinity"),
    }
}

fn files() -> Finding {
    use nix::sys::resource::{Resource, getrlimit};
    let what = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        // The userspace data plane needs two a connection.
        Ok((_, hard)) if hard < 65_536 => {
            Finding::new(what, Grade::Limited, format!("at most {hard}: {} connections in user space", hard / 2))
                .advise("LimitNOFILE=1048576")
        }
        Ok((_, hard)) => Finding::new(what, Grade::Good, format!("up to {hard}")),
        Err(e) => Finding::new(what, Grade::Limited, e.to_string()),
    }
}

/// Ports of NAT are those outside the host's own range.
fn ports() -> Finding {
    let what = "NAT ports";
    let range = read("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = range.split_whitespace().filter_map(|n| n.parse::<u32>().ok());
    let (Some(low), Some(high)) = (numbers.next(), numbers.next()) else {
        return Finding::new(what, Grade::Limited, "the host's own port range cannot be read");
    };
    let free = (low.saturating_sub(1024)).max(65_535_u32.saturating_sub(high));
    let found = format!("{free} per SNAT address and backend; the host's own are {low} to {high}");
    if free < 10_000 {
        Finding::new(what, Grade::Limited, found)
            .advise("narrow net.ipv4.ip_local_port_range, or add [host] snat_addresses")
    } else {
        Finding::new(what, Grade::Good, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes() {
        assert_eq!(version("6.18.0-rc1+"), Some((6, 18)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version(""), None);
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
    }

    #[test]
    fn every_finding_that_is_not_good_says_what_to_do() {
        for f in findings() {
            assert!(!f.found.is_empty(), "{f:?}");
            assert!(f.grade != Grade::Bad || f.advice.is_some(), "{f:?}");
        }
    }
}
