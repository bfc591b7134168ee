//! What one truth has of layer 7 that another has not, in words.

use std::collections::BTreeSet;

use lb_model::Name;
use lb_model::http::{Listener, Route, Target};

use crate::truth::Truth;

/// A line for each route that differs, in the new file's order, then those that are gone.
#[must_use]
pub fn routes(before: &Truth, after: &Truth) -> Vec<String> {
    let (old, new) = (&before.desired.routes, &after.desired.routes);
    let find = |list: &[Route], name: &Name| list.iter().position(|r| r.name == *name);
    let mut out = Vec::new();
    for route in new {
        match find(old, &route.name).map(|i| &old[i]) {
            None => out.push(format!("{}: added, {}", route.name, target(&route.target))),
            Some(was) if was != route => out.push(format!("{}: changes {}", route.name, keys(was, route).join(", "))),
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|r| find(new, &r.name).is_none());
    out.extend(gone.map(|r| format!("{}: removed", r.name)));
    // Of two that match alike the first in the file wins.
    let kept: Vec<usize> = new.iter().filter_map(|r| find(old, &r.name)).collect();
    for (i, pair) in kept.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let moved = new.iter().filter(|r| find(old, &r.name).is_some()).nth(i + 1);
            out.extend(moved.map(|r| format!("{}: stands elsewhere in the order", r.name)));
        }
    }
    out
}

fn target(target: &Target) -> String {
    match target {
        Target::Pool(name) => format!("to pool '{name}'"),
        Target::Split(parts) => {
            let parts: Vec<String> = parts.iter().map(|(name, weight)| format!("'{name}' {weight}")).collect();
            format!("split over pools {}", parts.join(", "))
        }
        Target::Redirect { status, .. } => format!("a redirect with {}", status.as_u16()),
        Target::Respond { status, .. } => format!("answered with {}", status.as_u16()),
        Target::Files { root } => format!("files below {}", root.display()),
    }
}

/// The keys that differ; where a request goes is said.
fn keys(a: &Route, b: &Route) -> Vec<String> {
    let mut out = Vec::new();
    if a.target != b.target {
        out.push(format!("its target from {} to {}", self::target(&a.target), self::target(&b.target)));
    }
    let others = [
        ("listener", a.listeners != b.listeners),
        ("match", a.matching != b.matching),
        ("rewrite", a.rewrite != b.rewrite),
        ("timeout", a.timeouts != b.timeouts),
        ("retry", a.retry != b.retry),
        ("max_body", a.max_body != b.max_body),
        ("compress", a.compress != b.compress),
        ("cache", a.cache != b.cache),
        ("mirror", a.mirror != b.mirror),
        ("errors", a.errors != b.errors),
        ("upgrade", a.upgrade != b.upgrade),
        ("path_unsafe", a.path_unsafe != b.path_unsafe),
    ];
    out.extend(others.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
    if out.is_empty() {
        out.push("settings".to_owned());
    }
    out
}

/// A line for each listener that differs.
#[must_use]
pub fn listeners(before: &Truth, after: &Truth) -> Vec<String> {
    let (old, new) = (&before.desired.listeners, &after.desired.listeners);
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    let line = |name: &Name| match (old.get(name), new.get(name)) {
        (None, Some(l)) => Some(format!("listener {name}: added, on {}", l.listen)),
        (Some(l), None) => Some(format!("listener {name}: removed, from {}", l.listen)),
        (Some(a), Some(b)) if a != b => Some(format!("listener {name}: changes {}", listener_keys(a, b).join(", "))),
        _ => None,
    };
    names.into_iter().filter_map(line).collect()
}

fn listener_keys(a: &Listener, b: &Listener) -> Vec<String> {
    let mut out = Vec::new();
    if a.listen != b.listen {
        out.push(format!("listen from {} to {}", a.listen, b.listen));
    }
    let others = [
        ("protocols", a.protocols != b.protocols),
        ("proxy_protocol", a.proxy_protocol != b.proxy_protocol),
        ("trusted_proxies", a.trusted_proxies != b.trusted_proxies),
        ("certificate", a.certificates != b.certificates),
        ("client_ca or client_auth", a.client_auth != b.client_auth),
        ("tls", a.tls_min != b.tls_min),
        ("hsts", a.hsts != b.hsts),
        ("timeout", a.timeouts != b.timeouts),
        ("limits", a.limits != b.limits),
    ];
    out.extend(others.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
    if out.is_empty() {
        out.push("settings".to_owned());
    }
    out
}
