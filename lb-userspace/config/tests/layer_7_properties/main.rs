//! Layer 7: whatever may be asked for is exported and reads back to the same, and no damage to a file panics.

mod listeners;
mod matches;
mod pools;
mod routes;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use lb_config::{Environment, export, parse_in};
use lb_model::http::{Route, Target};
use lb_model::{AccessLog, AccessLogFormat, Desired, Host, Name, Pool};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use listeners::listener;
use pools::pool;
use routes::route;
use text::{millis, path};

const EVERYTHING: &str = include_str!("../layer_7.toml");

fn process() -> impl Strategy<Value = Host> {
    let log = prop_oneof![Just(AccessLog::Stdout), Just(AccessLog::Off), path().prop_map(AccessLog::File)];
    (log, any::<bool>(), 0..=100u8, millis(0, 86_400_000)).prop_map(|(access_log, json, sample, timeout)| Host {
        access_log,
        access_log_format: if json { AccessLogFormat::Json } else { AccessLogFormat::Combined },
        access_log_sample: sample,
        shutdown_timeout: timeout,
        ..Host::default()
    })
}

/// Two pools that are there, for any that a route names.
fn settle(route: &mut Route, pools: &[Name], pick: Index) {
    let one = pick.get(pools).clone();
    let other = pools.iter().find(|p| **p != one).cloned();
    match &mut route.target {
        Target::Pool(name) => *name = one.clone(),
        Target::Split(parts) => {
            parts[1].0 = one.clone();
            match other {
                Some(other) => parts[0].0 = other,
                None => drop(parts.remove(0)),
            }
        }
        _ => {}
    }
    if let Some(mirror) = &mut route.mirror {
        mirror.pool = one;
    }
}

fn desired() -> impl Strategy<Value = Desired> {
    (process(), vec(pool(), 1..3), vec(listener(), 0..3), vec((route(), any::<Index>()), 0..4)).prop_map(
        |(host, pools, listeners, routes)| {
            let pools: BTreeMap<Name, Pool> = pools.into_iter().map(|p| (p.name.clone(), p)).collect();
            let names: Vec<Name> = pools.keys().cloned().collect();
            let mut desired = Desired { host, pools, ..Desired::default() };
            for (i, mut l) in listeners.into_iter().enumerate() {
                l.listen.set_port(i as u16 + 1);
                desired.listeners.insert(l.name.clone(), l);
            }
            let mut seen = BTreeSet::new();
            for (mut route, pick) in routes {
                settle(&mut route, &names, pick);
                if pick.index(2) == 0 {
                    route.listeners = desired.listeners.keys().rev().cloned().collect();
                }
                if seen.insert(route.name.clone()) {
                    desired.routes.push(route);
                }
            }
            desired
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_reads_back_to_the_same(desired in desired()) {
        let text = export(&desired);
        match parse_in(&text, "/x/exported.toml", &Environment::default()) {
            Ok(loaded) => prop_assert_eq!(loaded.desired, desired, "{}", text),
            Err(errors) => prop_assert!(false, "{}\n{}", errors[0], text),
        }
    }

    /// A good file with a part cut out, doubled or replaced: every place lies within it.
    #[test]
    fn no_damaged_file_panics(from: Index, length in 0..40usize, with in select(vec!["", "\"", "]", "[", "=", "\n", "ä", "9", "}", "{", "/", "*", "%", "true", "[[route]]\n"])) {
        let start = from.index(EVERYTHING.len());
        let end = (start + length).min(EVERYTHING.len());
        for text in [
            format!("{}{with}{}", &EVERYTHING[..start], &EVERYTHING[end..]),
            format!("{}{}", &EVERYTHING[..end], &EVERYTHING[start..]),
        ] {
            let found = parse_in(&text, "f", &Environment::default()).map_or_else(|e| e, |loaded| loaded.warnings);
            let lines: Vec<&str> = text.split('\n').collect();
            for d in found {
                prop_assert!((1..=lines.len()).contains(&d.line), "{d}");
                prop_assert!((1..=lines[d.line - 1].chars().count() + 1).contains(&d.column), "{d}");
            }
        }
    }

    /// Whatever stands where a text is read.
    #[test]
    fn no_text_panics(text in "\\PC{0,30}", place in select(vec![
        "match.path", "match.host", "match.methods", "redirect.to", "respond.body", "rewrite.path",
        "rewrite.strip_prefix", "rewrite.replace_prefix", "rewrite.host", "max_body", "retry.on", "upgrade", "path_unsafe",
    ])) {
        let quoted = toml::Value::String(text).to_string();
        let value = if ["upgrade", "path_unsafe"].contains(&place) { format!("[{quoted}]") } else { quoted };
        let file = format!("[[route]]\nname = \"r\"\n{place} = {value}\n");
        let _ = parse_in(&file, "f", &Environment::default());
        let listener = file.replace("[[route]]", "[[listener]]").replace(place, "listen");
        let _ = parse_in(&listener, "f", &Environment::default());
    }
}

#[test]
fn everything_is_exported() {
    let loaded = parse_in(EVERYTHING, "/etc/lb/lb.toml", &Environment::default()).expect("good");
    let text = export(&loaded.desired);
    let again =
        parse_in(&text, "/elsewhere/lb.toml", &Environment::default()).unwrap_or_else(|e| panic!("{}\n{text}", e[0]));
    assert_eq!(again.desired, loaded.desired, "{text}");
}
