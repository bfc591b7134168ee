//! What commands print: one JSON document for scripts, tables for people, errors on standard error.

pub(crate) mod table;
pub(crate) mod units;

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::exit::Failure;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// Prints on standard output; a reader that went away (`| head`) is no error.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::refused(format!("cannot print: {e}"))),
        _ => Ok(()),
    }
}

pub(crate) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// One document, indented where a person looks at it.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    let done = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    line(&done.map_err(Failure::wrong)?)
}

/// The document, or the text made of it.
pub(crate) fn either<T: Serialize>(
    as_json: bool,
    document: &T,
    render: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    if as_json { json(document) } else { text(&render(document)) }
}

pub(crate) fn to_stderr(line: &str) {
    // Nobody is left to be told.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

pub(crate) fn error(error: &anyhow::Error) {
    to_stderr(&format!("{}: {error:#}", paint(BAD.bold(), "error")));
}

pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
