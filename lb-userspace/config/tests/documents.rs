//! The reference and the schema in `docs/` are what the declaration prints. `LB_BLESS=1` writes them anew.

use std::path::Path;

fn compare(name: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("LB_BLESS").is_some() {
        std::fs::write(&path, printed).expect("docs/ can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == printed, "docs/{name} differs: run LB_BLESS=1 cargo test -p lb-config --test documents");
}

#[test]
fn the_reference_is_up_to_date() {
    compare("configuration.md", &lb_config::reference());
}

#[test]
fn the_schema_is_up_to_date() {
    compare("lb.schema.json", &format!("{:#}\n", lb_config::json_schema()));
}

#[test]
fn the_reference_s_example_is_good() {
    let reference = lb_config::reference();
    let example = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let loaded = lb_config::parse_in(example, "lb.toml", &lb_config::Environment::default()).expect("a good example");
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.desired.pools.len(), loaded.desired.services.len()), (1, 1));
}
