//! The doors between the rooms: which package may use which, read from cargo itself.

use std::collections::BTreeMap;

use anyhow::Result;
use cargo_metadata::DependencyKind;

use super::Finding;
use crate::house;

/// A room, and the rooms it may use. `lb-common` holds the pure types and algorithms of the wall; every room may use it.
const DOORS: [(&str, &[&str]); 19] = [
    ("lb-common", &[]),
    ("lb-ebpf", &[]),
    ("lb-model", &[]),
    ("lb-balance", &["lb-model"]),
    ("lb-config", &["lb-model"]),
    ("lb-health", &["lb-model", "lb-certs"]),
    ("lb-observe", &["lb-model"]),
    ("lb-message", &["lb-model"]),
    ("lb-routing", &["lb-model"]),
    ("lb-certs", &["lb-model"]),
    ("lb-cache", &["lb-model", "lb-message"]),
    ("lb-content", &["lb-model", "lb-message"]),
    ("lb-upstream", &["lb-model", "lb-message", "lb-balance", "lb-certs"]),
    (
        "lb-gateway",
        &[
            "lb-model",
            "lb-message",
            "lb-routing",
            "lb-certs",
            "lb-cache",
            "lb-content",
            "lb-upstream",
            "lb-balance",
            "lb-observe",
        ],
    ),
    ("lb-dataplane", &["lb-model", "lb-balance"]),
    ("lb-control", &["lb-model", "lb-balance", "lb-dataplane", "lb-health", "lb-config", "lb-gateway"]),
    ("lb-api", &["lb-model", "lb-control"]),
    ("lb", &["lb-model", "lb-api", "lb-control", "lb-config", "lb-dataplane", "lb-observe"]),
    ("xtask", &[]),
];

/// Packages that look at the product from outside: they may use any room, and no room may use them.
const OUTSIDE: [&str; 3] = ["lb-tests", "lb-demo", "lb-bench"];

/// All that the rooms without input or output may use of the world, as a guard of their purity.
const PURE: [(&str, &[&str]); 3] =
    [("lb-common", &["aya"]), ("lb-ebpf", &["aya-ebpf", "aya-log-ebpf"]), ("lb-model", &["http", "thiserror"])];

/// Package → the packages it depends on (tests aside), the workspace's own and others.
pub(super) type Dependencies = BTreeMap<String, Vec<String>>;

pub(super) fn read() -> Result<Dependencies> {
    let metadata = house::metadata()?;
    let normal = |p: &cargo_metadata::Package| {
        p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.clone()).collect()
    };
    Ok(metadata.packages.iter().map(|p| (p.name.to_string(), normal(p))).collect())
}

pub(super) fn check(dependencies: &Dependencies) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (package, uses) in dependencies {
        if OUTSIDE.contains(&package.as_str()) {
            continue;
        }
        let Some((_, doors)) = DOORS.iter().find(|(name, _)| name == package) else {
            findings.push(Finding::new(package, "is a package without doors; name them in xtask/src/tidy/doors.rs"));
            continue;
        };
        let rooms = uses.iter().filter(|u| dependencies.contains_key(*u) && *u != "lb-common");
        for used in rooms.filter(|u| !doors.contains(&u.as_str())) {
            findings.push(Finding::new(package, format!("has no door to {used}")));
        }
        let Some((_, world)) = PURE.iter().find(|(name, _)| name == package) else { continue };
        let others = uses.iter().filter(|u| !dependencies.contains_key(*u));
        for used in others.filter(|u| !world.contains(&u.as_str())) {
            findings.push(Finding::new(package, format!("is pure; it may not use {used}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(uses: &[(&str, &[&str])]) -> Dependencies {
        let mut all: Dependencies = DOORS.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
        for (package, uses) in uses {
            all.insert((*package).to_owned(), uses.iter().map(|u| (*u).to_owned()).collect());
        }
        all
    }

    fn broken(uses: &[(&str, &[&str])]) -> usize {
        check(&house(uses)).len()
    }

    #[test]
    fn open_doors_are_open() {
        assert_eq!(broken(&[("lb-control", &["lb-dataplane", "lb-common", "tokio"]), ("lb", &["lb-api"])]), 0);
        assert_eq!(broken(&[("lb-tests", &["lb", "lb-dataplane"])]), 0);
    }

    #[test]
    fn closed_doors_are_found() {
        for (package, used) in [
            ("lb-model", "lb-config"),
            ("lb-dataplane", "lb-control"),
            ("lb-dataplane", "lb-api"),
            ("lb-api", "lb-health"),
            ("lb-ebpf", "lb-model"),
            ("lb-common", "lb-model"),
            ("lb-config", "lb-control"),
        ] {
            assert_eq!(broken(&[(package, &[used])]), 1, "{package} -> {used}");
        }
    }

    #[test]
    fn pure_rooms_stay_pure() {
        assert_eq!(broken(&[("lb-model", &["tokio"])]), 1);
        assert_eq!(broken(&[("lb-model", &["thiserror", "lb-common"])]), 0);
    }

    #[test]
    fn a_new_package_must_name_its_doors() {
        assert_eq!(broken(&[("lb-surprise", &[])]), 1);
    }

    #[test]
    fn the_table_has_no_cycle() {
        fn reaches(from: &str, to: &str) -> bool {
            let doors = DOORS.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, d)| d);
            doors.iter().any(|d| *d == to || reaches(d, to))
        }
        for (name, _) in DOORS {
            assert!(!reaches(name, name), "{name}");
        }
    }
}
