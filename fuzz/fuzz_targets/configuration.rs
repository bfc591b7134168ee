//! Any text as a configuration: a desired state or errors with places, and what is exported is read again.
#![no_main]

use lb_config::Environment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let environment = Environment::default();
    match lb_config::parse_in(text, "/nowhere/lb.toml", &environment) {
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.line >= 1 && error.column >= 1);
                let _ = error.to_string();
            }
        }
        Ok(loaded) => {
            let exported = lb_config::export(&loaded.desired);
            let again = lb_config::parse_in(&exported, "/nowhere/lb.toml", &environment);
            let again = again.unwrap_or_else(|e| panic!("what was exported is refused: {e:?}\n{exported}"));
            assert_eq!(again.desired, loaded.desired);
        }
    }
});
