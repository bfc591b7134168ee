//! `[[route]]` as a file has it.

use http::{HeaderName, HeaderValue};
use lb_model::Name;
use lb_model::http::{
    Cache, Coding, Compress, Match, PathRewrite, Retry, Rewrite, Route, RouteTimeouts, Target, UnsafeEscape, ValueMatch,
};

use super::{Lines, duration, key, list, path, percent, quoted, size};
use crate::units;

pub(super) fn write(out: &mut String, r: &Route) {
    let mut lines = Lines(Vec::new());
    lines.put("name", quoted(r.name.as_str())).put_if(!r.listeners.is_empty(), "listener", list(&r.listeners));
    let (matching, rewrite) = (matching(&r.matching), rewrite(&r.rewrite));
    lines.put_if(!matching.is_empty(), "match", matching.inline()).put_if(
        !rewrite.is_empty(),
        "rewrite",
        rewrite.inline(),
    );
    target(&mut lines, &r.target);
    let (timeouts, retry) = (timeouts(&r.timeouts), retry(&r.retry));
    let max_body = r.max_body.unwrap_or(0);
    lines
        .put_if(!timeouts.is_empty(), "timeout", timeouts.inline())
        .put_if(!retry.is_empty(), "retry", retry.inline())
        .put_if(max_body != Route::DEFAULT_MAX_BODY, "max_body", size(max_body))
        .put_some("compress", r.compress.as_ref(), compress)
        .put_some("cache", r.cache.as_ref(), cache);
    if let Some(mirror) = &r.mirror {
        let mut inner = Lines(Vec::new());
        inner.put("pool", quoted(mirror.pool.as_str())).put("percent", mirror.percent.to_string());
        lines.put("mirror", inner.inline());
    }
    let pages: Vec<String> = r.errors.iter().map(|(status, page)| format!("{status} = {}", path(page))).collect();
    let escapes: Vec<&str> = r.path_unsafe.iter().copied().map(UnsafeEscape::as_str).collect();
    lines
        .put_if(!pages.is_empty(), "errors", format!("{{ {} }}", pages.join(", ")))
        .put_if(r.upgrade != ["websocket"], "upgrade", list(&r.upgrade))
        .put_if(!escapes.is_empty(), "path_unsafe", list(&escapes));
    lines.write(out, "[[route]]");
}

fn matching(m: &Match) -> Lines {
    let mut lines = Lines(Vec::new());
    match m.hosts.as_slice() {
        [] => {}
        [one] => drop(lines.put("host", quoted(one.to_string()))),
        several => drop(lines.put("host", list(several))),
    }
    lines
        .put_some("path", m.path.as_ref(), |p| quoted(p.to_string()))
        .put_if(!m.methods.is_empty(), "methods", list(&m.methods))
        .put_if(!m.headers.is_empty(), "headers", values(m.headers.iter().map(|(n, v)| (n.as_str(), v))))
        .put_if(!m.query.is_empty(), "query", values(m.query.iter().map(|(n, v)| (n.as_str(), v))))
        .put_if(!m.cookies.is_empty(), "cookies", values(m.cookies.iter().map(|(n, v)| (n.as_str(), v))))
        .put_if(!m.source.is_empty(), "source", list(&m.source));
    lines
}

fn values<'a>(fields: impl Iterator<Item = (&'a str, &'a ValueMatch)>) -> String {
    let each: Vec<String> = fields.map(|(name, v)| format!("{} = {}", key(name), quoted(v.to_string()))).collect();
    format!("{{ {} }}", each.join(", "))
}

fn rewrite(r: &Rewrite) -> Lines {
    let mut lines = Lines(Vec::new());
    match &r.path {
        None => {}
        Some(PathRewrite::Strip(prefix)) => drop(lines.put("strip_prefix", quoted(prefix.as_str()))),
        Some(PathRewrite::ReplacePrefix(with)) => drop(lines.put("replace_prefix", quoted(with.as_str()))),
        Some(PathRewrite::Path(template)) => drop(lines.put("path", quoted(template.to_string()))),
    }
    lines.put_some("host", r.host.as_deref(), quoted);
    lines
}

fn target(lines: &mut Lines, target: &Target) {
    let mut inner = Lines(Vec::new());
    match target {
        Target::Pool(name) => drop(lines.put("pool", quoted(name.as_str()))),
        Target::Split(parts) => {
            let part =
                |(name, weight): &(Name, u32)| format!("{{ pool = {}, weight = {weight} }}", quoted(name.as_str()));
            lines.put("split", format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(", ")));
        }
        Target::Redirect { to, status } => {
            inner.put("to", quoted(to.to_string())).put("status", status.as_u16().to_string());
            lines.put("redirect", inner.inline());
        }
        Target::Respond { status, body, headers } => {
            inner.put("status", status.as_u16().to_string()).put("body", quoted(body.to_string()));
            inner.put_if(!headers.is_empty(), "headers", fields(headers));
            lines.put("respond", inner.inline());
        }
        Target::Files { root } => {
            inner.put("root", path(root));
            lines.put("files", inner.inline());
        }
    }
}

/// A field that is there several times has a list.
fn fields(headers: &[(HeaderName, HeaderValue)]) -> String {
    let mut out: Vec<(&HeaderName, Vec<&str>)> = Vec::new();
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default();
        match out.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(value),
            None => out.push((name, vec![value])),
        }
    }
    let each: Vec<String> = out.iter().map(|(n, v)| format!("{} = {}", key(n.as_str()), list(v))).collect();
    format!("{{ {} }}", each.join(", "))
}

fn timeouts(t: &RouteTimeouts) -> Lines {
    let usual = RouteTimeouts::default();
    let mut lines = Lines(Vec::new());
    lines
        .put_if(t.request != usual.request, "request", duration(t.request))
        .put_if(t.idle != usual.idle, "idle", duration(t.idle))
        .put_if(t.connect != usual.connect, "connect", duration(t.connect));
    lines
}

fn retry(r: &Retry) -> Lines {
    let usual = Retry::default();
    let mut lines = Lines(Vec::new());
    lines
        .put_if(r.attempts != usual.attempts, "attempts", r.attempts.to_string())
        .put_if(r.budget_percent != usual.budget_percent, "budget", percent(r.budget_percent))
        .put_if(!r.on.is_empty(), "on", quoted(units::statuses(&r.on)));
    lines
}

fn compress(c: &Compress) -> String {
    let usual = Compress::default();
    if *c == usual {
        return "true".to_owned();
    }
    let words: Vec<&str> = c.algorithms.iter().copied().map(Coding::as_str).collect();
    let mut lines = Lines(Vec::new());
    lines
        .put_if(c.algorithms != usual.algorithms, "algorithms", list(&words))
        .put_if(c.min_size != usual.min_size, "min_size", size(c.min_size))
        .put_if(c.types != usual.types, "types", list(&c.types));
    lines.inline()
}

fn cache(c: &Cache) -> String {
    let mut lines = Lines(Vec::new());
    lines
        .put("max_size", size(c.max_size))
        .put("max_object", size(c.max_object))
        .put_if(!c.stale_while_revalidate.is_zero(), "stale_while_revalidate", duration(c.stale_while_revalidate))
        .put_if(!c.stale_if_error.is_zero(), "stale_if_error", duration(c.stale_if_error))
        .put_if(c.tags != "cache-tag", "tags", quoted(c.tags.as_str()));
    if let Some(disk) = &c.disk {
        let mut inner = Lines(Vec::new());
        inner.put("path", path(&disk.path)).put("size", size(disk.size));
        lines.put("disk", inner.inline());
    }
    lines.inline()
}
