//! Claims: said, checked, and counted when they do not hold.

use crate::picture::paint;

#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) broken: usize,
}

impl Claims {
    pub(crate) fn that(&mut self, holds: bool, what: &str) {
        if holds {
            println!("  {} {what}", paint("32", "✓"));
        } else {
            self.broken += 1;
            println!("  {} {what}", paint("1;31", "✗ NOT SO:"));
        }
    }
}
