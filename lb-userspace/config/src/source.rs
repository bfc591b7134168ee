//! A file's text, and places in it as people count them.

use std::ops::Range;

/// Bytes of the text, as the TOML parser counts.
pub(crate) type Span = Range<usize>;

#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// A span in lines and columns, both from 1, columns in characters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Position<'a> {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// Characters of the span on its first line, at least 1.
    pub(crate) width: usize,
    pub(crate) line_text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { file, text, lines: std::iter::once(0).chain(breaks).collect() }
    }

    pub(crate) const fn text(&self) -> &'a str {
        self.text
    }

    /// What stands at a span; empty if it is none of this text.
    pub(crate) fn at(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line a byte is on, from 1.
    pub(crate) fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte)
    }

    /// A line's text, counted from 1.
    pub(crate) fn line(&self, line: usize) -> &'a str {
        let from = line.checked_sub(1).and_then(|i| self.lines.get(i)).copied().unwrap_or(self.text.len());
        let to = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        self.text[from..to].trim_end_matches('\r')
    }

    pub(crate) fn position(&self, span: &Span) -> Position<'a> {
        let start = self.boundary(span.start);
        let line = self.line_of(start);
        let from = self.lines[line - 1];
        let line_text = self.line(line);
        let in_line = (start - from).min(line_text.len());
        let end = self.boundary(span.end).saturating_sub(from).clamp(in_line, line_text.len());
        Position {
            line,
            column: self.text[from..start].chars().count() + 1,
            width: line_text[in_line..end].chars().count().max(1),
            line_text,
        }
    }

    /// The nearest character boundary at or before a byte.
    pub(crate) fn boundary(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        (0..=byte).rev().find(|b| self.text.is_char_boundary(*b)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let s = Source::new("f", "a = 1\nä = \"öü\"\r\n\nend");
        let place = |range: Span| {
            let p = s.position(&range);
            (p.line, p.column, p.width, p.line_text)
        };
        assert_eq!(place(0..1), (1, 1, 1, "a = 1"));
        assert_eq!(place(6..8), (2, 1, 1, "ä = \"öü\""));
        assert_eq!(place(11..17), (2, 5, 4, "ä = \"öü\""));
        assert_eq!(place(17..30), (2, 9, 1, "ä = \"öü\""));
        assert_eq!(place(19..19), (3, 1, 1, ""));
        assert_eq!(place(20..23), (4, 1, 3, "end"));
        assert_eq!(place(99..200), (4, 4, 1, "end"));
        assert_eq!(Source::new("f", "").position(&(0..0)).line_text, "");
    }
}
