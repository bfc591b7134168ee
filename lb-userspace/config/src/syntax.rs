//! TOML itself: a recovering parse whose complaints are put in our words.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use crate::report::{Problem, Report};
use crate::source::{Source, Span};

/// Parses as much as can be understood, and says of which lines it guesses. With an error of syntax the report is
/// [`Report::partial`] from here on.
pub(crate) fn parse<'a>(report: &mut Report<'a>) -> (Spanned<DeTable<'a>>, BTreeSet<usize>) {
    let source = report.source;
    let (document, mut errors) = DeTable::parse_recoverable(source.text());
    errors.sort_by_key(|e| e.span().map_or(usize::MAX, |s| s.start));
    let mut guessed = BTreeSet::new();
    // Where the last complaint ends, and on which line.
    let mut last = (0, 0);
    for error in errors.into_iter().take(MOST) {
        let end = source.text().len();
        let span = error.span().unwrap_or(end..end);
        let line = source.line_of(span.start);
        if error.message().starts_with("duplicate key") {
            guessed.insert(line);
            let problem = Problem::new(format!("'{}' is here a second time", source.at(&span)));
            report.error(span, problem.hint("keep one of them"));
            continue;
        }
        if swallowed_header(source, line, error.message()) {
            if !report.partial {
                let problem = Problem::new("not valid TOML: this is not closed before the next table begins");
                report.error(opening(source, span.start), problem.hint("add the missing ] or }"));
            }
            report.partial = true;
            guessed.extend(line..=source.line_of(end));
            break;
        }
        report.partial = true;
        guessed.extend(under_broken_header(source, span.start));
        let word = whole_word(source, span.clone());
        // The first complaint about a line is the cause and the others follow from it, but for words without quotes.
        if guessed.insert(line) || (last.1 == line && word.start >= last.0 && error.message().contains(UNQUOTED)) {
            report.error(word.clone(), describe(error.message(), source.at(&word)));
        }
        last = (word.end, line);
    }
    (document, guessed)
}

/// Complaints beyond these are about a file that is no TOML at all.
const MOST: usize = 1000;
const UNQUOTED: &str = "must be quoted";

/// A header was read as part of a list or table above it.
fn swallowed_header(source: &Source<'_>, line: usize, message: &str) -> bool {
    let text = source.line(line).trim();
    let header = text.starts_with('[') && text.ends_with(']') && !text.contains(['=', ',', '"']);
    header && ["must be quoted", "array element", "inline table"].iter().any(|about| message.contains(about))
}

/// The bracket before a place that was probably left open.
fn opening(source: &Source<'_>, at: usize) -> Span {
    let before = &source.text()[..source.boundary(at)];
    let after_equals = |(i, _): &(usize, char)| before[..*i].trim_end().ends_with('=');
    let found = before.char_indices().rev().filter(|(_, c)| "[{".contains(*c)).find(after_equals);
    found.map_or(at..at, |(i, _)| i..i + 1)
}

/// With a header that cannot be read it is unknown whose the keys below it are.
fn under_broken_header(source: &Source<'_>, at: usize) -> Range<usize> {
    let line = source.line_of(at);
    let is_header = |line: usize| source.line(line).trim_start().starts_with('[');
    let end = source.line_of(source.text().len());
    let next = (line + 1..=end).find(|l| is_header(*l)).unwrap_or(end + 1);
    line + 1..if is_header(line) { next } else { line + 1 }
}

/// The parser points at the first character that it cannot use; what is wrong begins where the word or the quotes do.
fn whole_word(source: &Source<'_>, span: Span) -> Span {
    let text = source.text();
    let at = source.boundary(span.start);
    let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let before = &text[line..at];
    if before.trim_start().starts_with('[') {
        return span;
    }
    let end = text[at..].find(['\n', ',', ']', '}', '#']).map_or(text.len(), |n| at + n);
    // An odd quote is one that was left open.
    let quoted = before.matches('"').count() % 2 == 1;
    let start = if quoted { before.rfind('"') } else { after_last(before) };
    let start = line + start.unwrap_or(0);
    let end = start + text[start..end.max(start)].trim_end().len();
    if start < end { start..end } else { span }
}

/// Where what follows the last separator begins.
fn after_last(before: &str) -> Option<usize> {
    let separates = |c: char| c.is_whitespace() || "=,[{".contains(c);
    before.char_indices().rev().find(|(_, c)| separates(*c)).map(|(i, c)| i + c.len_utf8())
}

fn describe(message: &str, word: &str) -> Problem {
    let problem = Problem::new(format!("not valid TOML: {message}"));
    let word = word.trim();
    if word.is_empty() && message.contains(UNQUOTED) {
        return Problem::new("not valid TOML: a value is missing").hint("write KEY = VALUE, or take the line out");
    }
    if message.contains("key with no value") || message.contains("unquoted key") {
        return problem.hint("a line is a table's header, or KEY = VALUE");
    }
    if message.contains("escape") {
        return problem.hint("write \\\\ for a backslash, or put the text in single quotes");
    }
    if word.starts_with(['"', '\'']) {
        return problem.hint("a text ends, on its own line, with the quote it began with");
    }
    if message.contains(UNQUOTED) || looks_like_text(word) {
        return problem.hint(format!("text stands in quotes: \"{word}\""));
    }
    problem
}

fn looks_like_text(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_alphanumeric()) && word.contains(['.', ':', '/']) && !word.contains(['=', '"'])
}
