//! Aligned tables.

use anstyle::Style;

use super::{BOLD, PLAIN, paint};

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, PLAIN)
    }
}

/// Columns named with a leading `>` are aligned to the right.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[Cell; N]>,
    indent: &'static str,
}

impl<const N: usize> Table<N> {
    pub(crate) const fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new(), indent: "" }
    }
    pub(crate) const fn indented(mut self) -> Self {
        self.indent = "  ";
        self
    }
    pub(crate) fn push(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    /// Lines, each ended; of an empty table only the head.
    pub(crate) fn render(&self) -> String {
        let title = |h: &'static str| h.trim_start_matches('>');
        let mut widths = self.head.map(|h| title(h).chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let head = self.head.map(|h| Cell::styled(title(h), BOLD));
        let mut out = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            out.push_str(self.indent);
            for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
                let pad = " ".repeat(width - cell.text.chars().count());
                let painted = if cell.style == PLAIN { cell.text.clone() } else { paint(cell.style, &cell.text) };
                let right = self.head[i].starts_with('>');
                let last = i + 1 == N;
                match (right, last) {
                    (true, _) => out.extend([pad.as_str(), &painted]),
                    (false, true) => out.push_str(&painted),
                    (false, false) => out.extend([painted.as_str(), &pad]),
                }
                if !last {
                    out.push_str("  ");
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(["NAME", ">FLOWS", "STATE"]);
        table.push(["web".into(), "12".into(), "active".into()]);
        table.push(["longer-name".into(), "1,234,567".into(), Cell::styled("x", super::super::BAD)]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "NAME             FLOWS  STATE\nweb                 12  active\nlonger-name  1,234,567  x\n");
    }
}
