//! The reference and the schema in `docs/` are what the declaration prints. `LB_BLESS=1` writes them anew.

use std::path::{Path, PathBuf};

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn blessing() -> bool {
    std::env::var_os("LB_BLESS").is_some()
}

#[test]
fn the_reference_is_up_to_date() {
    let printed = lb_config::reference();
    let path = document("configuration.md");
    if blessing() {
        std::fs::write(&path, &printed).expect("docs/ can be written");
    }
    let kept = std::fs::read_to_string(path).expect("docs/configuration.md");
    assert!(kept == printed, "docs/configuration.md differs: run LB_BLESS=1 cargo test -p lb-config --test documents");
}

/// As values: the order of keys in the text depends on how serde_json was built.
#[test]
fn the_schema_is_up_to_date() {
    let printed = lb_config::json_schema();
    let path = document("lb.schema.json");
    if blessing() {
        std::fs::write(&path, format!("{printed:#}\n")).expect("docs/ can be written");
    }
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("docs/lb.schema.json")).expect("JSON");
    assert!(kept == printed, "docs/lb.schema.json differs: run LB_BLESS=1 cargo test -p lb-config --test documents");
}

#[test]
fn the_reference_s_examples_are_good() {
    let reference = lb_config::reference();
    let examples: Vec<&str> =
        reference.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let counts = examples.iter().map(|example| {
        let loaded =
            lb_config::parse_in(example, "lb.toml", &lb_config::Environment::default()).expect("a good example");
        assert_eq!(loaded.warnings, []);
        let d = loaded.desired;
        [d.pools.len(), d.services.len(), d.listeners.len(), d.routes.len()]
    });
    assert_eq!(counts.collect::<Vec<_>>(), [[1, 1, 0, 0], [1, 0, 2, 2]]);
}
