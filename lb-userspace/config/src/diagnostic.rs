//! One error or warning, with its place, as people and as scripts read it.

use std::fmt;

use serde::Serialize;

use crate::source::{Source, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// Serialises as `lb check --json` prints it: `file`, `line`, `column`, `message`, `hint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    #[serde(skip)]
    pub severity: Severity,
    /// The line it is about, without its end.
    #[serde(skip)]
    pub source_line: String,
    /// Characters to underline.
    #[serde(skip)]
    pub width: usize,
}

impl Diagnostic {
    pub(crate) fn new(source: &Source<'_>, severity: Severity, span: &Span, message: String) -> Self {
        let at = source.position(span);
        Self {
            file: source.file.to_owned(),
            line: at.line,
            column: at.column,
            message,
            hint: None,
            severity,
            source_line: at.line_text.to_owned(),
            width: at.width,
        }
    }

    /// The part of the line worth showing, and how many characters before the place it begins.
    fn window(&self) -> (String, usize) {
        const BEFORE: usize = 60;
        const SHOWN: usize = 120;
        let skipped = (self.column - 1).saturating_sub(if self.source_line.chars().count() > SHOWN {
            BEFORE
        } else {
            usize::MAX
        });
        // A control character would move the caret, or worse, the terminal's cursor.
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        (self.source_line.chars().skip(skipped).take(SHOWN).map(shown).collect(), self.column - 1 - skipped)
    }
}

/// `file:line:column: error: message`, the line with carets under the place, and the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {word}: {}", self.file, self.line, self.column, self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (line, before) = self.window();
        if !line.trim().is_empty() {
            let carets = self.width.min(line.chars().count().saturating_sub(before)).max(1);
            write!(f, "\n {number} | {}", line.trim_end())?;
            write!(f, "\n {margin} | {}{}", " ".repeat(before), "^".repeat(carets))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n {margin} = help: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Span) -> Diagnostic {
        let mut d = Diagnostic::new(&Source::new("lb.toml", text), Severity::Error, &span, "no".to_owned());
        d.hint = Some("yes".to_owned());
        d
    }

    #[test]
    fn shown_with_a_caret_under_the_place() {
        let expected = "lb.toml:2:5: error: no\n 2 | b = \"x\"\n   |     ^^^\n   = help: yes";
        assert_eq!(at("a = 1\nb = \"x\"\n", 10..13).to_string(), expected);
        assert_eq!(at("", 0..0).to_string(), "lb.toml:1:1: error: no\n   = help: yes");
    }

    #[test]
    fn long_and_wild_lines_stay_readable() {
        let text = format!("{}x\u{1b}[2J{}", "a".repeat(500), "b".repeat(500));
        let shown = at(&text, 500..501).to_string();
        assert!(!shown.contains('\u{1b}'));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1].find('x'), lines[2].find('^'));
        assert!(lines[1].len() < 140);
    }

    #[test]
    fn scripts_get_five_fields() {
        let json = serde_json::to_value(at("a = 1", 4..5)).expect("serialises");
        let expected = serde_json::json!({"file": "lb.toml", "line": 1, "column": 5, "message": "no", "hint": "yes"});
        assert_eq!(json, expected);
    }
}
