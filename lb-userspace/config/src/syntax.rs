//! TOML itself: a recovering parse whose complaints are put in our words.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, Error};

use crate::report::{Problem, Report};

/// Parses as much as can be understood. With an error of syntax the report is [`Report::partial`] from here on.
pub(crate) fn parse<'a>(report: &mut Report<'a>) -> (Spanned<DeTable<'a>>, BTreeSet<usize>) {
    let (document, errors) = DeTable::parse_recoverable(report.source.text());
    let mut lines = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or_else(|| report.source.text().len()..report.source.text().len());
        // The first complaint about a line is the cause, the others follow from it.
        if lines.insert(report.source.line_of(span.start)) {
            let repeated = error.message().starts_with("duplicate key");
            report.partial |= !repeated;
            let problem = if repeated { duplicate(report, &error) } else { describe(report, &error) };
            report.error(span, problem);
        }
    }
    (document, lines)
}

fn duplicate(report: &Report<'_>, error: &Error) -> Problem {
    let key = error.span().map(|s| report.source.at(&s)).unwrap_or_default();
    Problem::new(format!("'{key}' is here a second time")).hint("keep one of them")
}

fn describe(report: &Report<'_>, error: &Error) -> Problem {
    let message = error.message();
    let problem = Problem::new(format!("not valid TOML: {message}"));
    let at = error.span().map(|s| report.source.at(&s)).unwrap_or_default();
    if message.contains("string values must be quoted") || message.contains("extra `.`") || looks_like_text(at) {
        problem.hint(format!("text stands in quotes: \"{}\"", at.trim()))
    } else if message.contains("unquoted keys") || message.contains("key with no value") {
        problem.hint("a line is a table header, or KEY = VALUE")
    } else {
        problem
    }
}

fn looks_like_text(at: &str) -> bool {
    at.chars().any(|c| c.is_ascii_alphanumeric()) && at.contains(['.', ':', '/'])
}
