//! `[route.rewrite]`, and texts with captures in them.

use lb_model::http::{PathPattern, PathRewrite, Piece, Rewrite, Segment, Template};

use super::{host_name, path};
use crate::nearest::nearest;
use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;

/// The route's path pattern, as far as it is known: `None` where it was wrong.
pub(super) type Known<'a> = Option<Option<&'a PathPattern>>;

pub(super) fn read(route: &Table, known: Known<'_>, report: &mut Report<'_>) -> Option<Rewrite> {
    let table = route.inner("rewrite", report);
    one_of_them(&table, report);
    let host = match table.get::<String>("host").map(|h| host_name::canonical(&h)) {
        Some(Ok(host)) => Some(Some(host)),
        Some(Err(problem)) => {
            report.error(table.place("host"), problem);
            None
        }
        None => Some(None),
    };
    let path = if let Some(text) = table.get::<String>("strip_prefix") {
        Some(PathRewrite::Strip(strip(&table, &text, known, report)?))
    } else if let Some(text) = table.get::<String>("replace_prefix") {
        Some(PathRewrite::ReplacePrefix(replace(&table, text, known, report)?))
    } else if let Some(text) = table.get::<String>("path") {
        let template = template(&text, table.place("path"), known, report)?;
        Some(PathRewrite::Path(whole(&text, template, table.place("path"), report)?))
    } else {
        None
    };
    Some(Rewrite { path, host: host? })
}

fn one_of_them(table: &Table, report: &mut Report<'_>) {
    let keys = ["strip_prefix", "replace_prefix", "path"];
    let mut written: Vec<_> = keys.iter().filter_map(|k| Some((table.key_place(k)?, *k))).collect();
    written.sort_by_key(|(place, _)| place.start);
    if let [(_, first), (place, second), ..] = written.as_slice() {
        let problem = Problem::new(format!("{first} and {second} both say what becomes of the path"));
        report.error(place.clone(), problem.hint("keep one of them"));
    }
}

fn strip(table: &Table, text: &str, known: Known<'_>, report: &mut Report<'_>) -> Option<String> {
    let place = table.place("strip_prefix");
    let bare = text.strip_suffix("/*").unwrap_or(text).trim_end_matches('/');
    if let Err(problem) = path::check_normal(if bare.is_empty() { "/" } else { bare }) {
        report.error(place, problem);
        return None;
    }
    if bare.contains(['*', '{', '}']) || text.ends_with("/*") {
        let problem = Problem::new(format!("strip_prefix is a path as it stands, and '{text}' is a pattern"));
        report.error(place, problem.hint(format!("write strip_prefix = \"{bare}\", or path with captures")));
        return None;
    }
    if bare.is_empty() {
        report.warning(place, Problem::new(format!("strip_prefix = \"{text}\" takes nothing off")));
    } else if let Some(Some(pattern)) = known
        && !may_begin_with(pattern, bare)
    {
        let problem = Problem::new(format!("no path that matches {pattern} begins with {bare}: nothing is taken off"));
        report.warning(place, problem.hint("strip_prefix is what the client's path begins with"));
    }
    // Kept as a path, which is what the whole of it is.
    Some(if bare.is_empty() { "/".to_owned() } else { bare.to_owned() })
}

/// A path of the pattern can begin with the segments of the prefix.
fn may_begin_with(pattern: &PathPattern, prefix: &str) -> bool {
    let below = |path: &str, base: &str| path.strip_prefix(base).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    match pattern {
        PathPattern::Exact(path) => below(path, prefix),
        PathPattern::Prefix(path) => below(path, prefix) || below(prefix, path),
        PathPattern::Pattern { segments, rest } => {
            let mut own = segments.iter();
            prefix[1..].split('/').all(|wanted| match own.next() {
                Some(Segment::Literal(text)) => text == wanted,
                Some(Segment::Capture(_)) => !wanted.is_empty(),
                None => *rest,
            })
        }
    }
}

fn replace(table: &Table, text: String, known: Known<'_>, report: &mut Report<'_>) -> Option<String> {
    let place = table.place("replace_prefix");
    if !text.starts_with('/') {
        let problem = Problem::new(format!("'{text}' does not begin with a slash, and every path does"));
        report.error(place, problem.hint(format!("write /{text}")));
        return None;
    }
    if text.contains(['*', '{', '}']) {
        let problem = Problem::new(format!("replace_prefix stands as it is, and '{text}' is a pattern"));
        report.error(place, problem.hint("write rewrite = { path = \"/orders/{id}\" } for captures"));
        return None;
    }
    if let Err(problem) = path::check_normal(&text) {
        report.error(place, problem);
        return None;
    }
    let prefix = matches!(known?, Some(PathPattern::Prefix(_) | PathPattern::Pattern { rest: true, .. }));
    if !prefix {
        let problem = Problem::new("replace_prefix needs a match by prefix");
        report.error(table.key_place("replace_prefix")?, problem.hint("write match = { path = \"/old/*\" }"));
        return None;
    }
    Some(text)
}

fn whole(text: &str, template: Template, place: Span, report: &mut Report<'_>) -> Option<Template> {
    let begins = match template.pieces.first() {
        Some(Piece::Literal(text)) => text.starts_with('/'),
        Some(Piece::Path) => true,
        _ => false,
    };
    let problem = if !begins {
        Problem::new(format!("'{text}' does not begin with a slash, and every path does"))
            .hint(format!("write /{text}"))
    } else if text.contains(['?', '#']) {
        Problem::new("rewrite.path has no query: the request's own stays").hint("take out what begins with ? or #")
    } else if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '\\') {
        Problem::new(format!("{c:?} cannot stand in a path")).hint("write it as an escape, such as %20")
    } else {
        return Some(template);
    };
    report.error(place, problem);
    None
}

/// A text with captures that the route's pattern has.
pub(super) fn template(text: &str, place: Span, known: Known<'_>, report: &mut Report<'_>) -> Option<Template> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(why) => {
            report.error(place, Problem::new(why.to_string()).hint("write {id} for a capture, {{ and }} for braces"));
            return None;
        }
    };
    let pattern = known?;
    let names: Vec<&str> = pattern.map(|p| p.captures().collect()).unwrap_or_default();
    for piece in &template.pieces {
        let Piece::Capture(name) = piece else { continue };
        if names.contains(&name.as_str()) {
            continue;
        }
        let problem = Problem::new(format!("'{{{name}}}' is not captured by the route's match"));
        let all = names.iter().copied().chain(["host", "path", "query"]);
        let hint = match nearest(name, all) {
            Some(near) => format!("did you mean {{{near}}}?"),
            None => format!(
                "write match = {{ path = \"/…/{{{name}}}\" }}; {{host}}, {{path}} and {{query}} are always there"
            ),
        };
        report.error(place, problem.hint(hint));
        return None;
    }
    Some(template)
}
