//! What only shows when everything is seen together.

mod advice;
mod forwarding;
mod listens;
mod names;

use std::collections::HashMap;

use crate::read::{Draft, DraftPool};
use crate::report::Report;

/// Pools by name; of two with one name the first.
type Pools<'a> = HashMap<&'a str, &'a DraftPool>;

pub(crate) fn whole(draft: &Draft, report: &mut Report<'_>) {
    let pools = names::check(draft, report);
    listens::check(draft, report);
    forwarding::check(draft, &pools, report);
    advice::check(draft, &pools, report);
}
