//! What was found wrong so far: errors and warnings are gathered, never thrown.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Source, Span};

/// A sentence about a place.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) source: &'a Source<'a>,
    found: Vec<(Severity, Span, Problem)>,
    /// Part of the text was not understood: what seems to be missing may only have been lost.
    pub(crate) partial: bool,
}

impl<'a> Report<'a> {
    pub(crate) const fn new(source: &'a Source<'a>) -> Self {
        Self { source, found: Vec::new(), partial: false }
    }

    pub(crate) fn error(&mut self, span: Span, problem: Problem) {
        self.found.push((Severity::Error, span, problem));
    }

    /// An error about something that is not there.
    pub(crate) fn missing(&mut self, span: Span, problem: Problem) {
        if !self.partial {
            self.error(span, problem);
        }
    }

    pub(crate) fn warning(&mut self, span: Span, problem: Problem) {
        self.found.push((Severity::Warning, span, problem));
    }

    /// Takes over what another found, but for errors on some lines.
    pub(crate) fn absorb(&mut self, other: Self, but_for: &BTreeSet<usize>) {
        let source = self.source;
        self.found
            .extend(other.found.into_iter().filter(|(_, span, _)| !but_for.contains(&source.line_of(span.start))));
    }

    pub(crate) fn failed(&self) -> bool {
        self.found.iter().any(|(s, ..)| *s == Severity::Error)
    }

    /// "line 7", for a hint that names another place.
    pub(crate) fn line(&self, span: &Span) -> String {
        format!("line {}", self.source.line_of(span.start))
    }

    /// Errors, then warnings, each in the order of the file.
    pub(crate) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let source = self.source;
        let mut all: Vec<Diagnostic> = (self.found.into_iter())
            .map(|(severity, span, problem)| Diagnostic {
                hint: problem.hint,
                ..Diagnostic::new(source, severity, &span, problem.message)
            })
            .collect();
        all.sort_by_key(|d| (d.line, d.column));
        all.dedup();
        all.into_iter().partition(|d| d.severity == Severity::Error)
    }
}
