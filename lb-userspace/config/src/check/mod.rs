//! What only shows when everything is seen together.

mod advice;
pub(crate) mod files;
mod forwarding;
mod layers;
mod listens;
mod names;
mod routes;

use std::collections::HashMap;

use crate::read::{Draft, DraftPool};
use crate::report::Report;

/// Pools by name; of two with one name the first.
type Pools<'a> = HashMap<&'a str, &'a DraftPool>;

pub(crate) fn whole(draft: &Draft, report: &mut Report<'_>) {
    let pools = names::check(draft, report);
    listens::check(draft, report);
    forwarding::check(draft, &pools, report);
    layers::check(draft, &pools, report);
    routes::check(draft, &pools, report);
    advice::check(draft, &pools, report);
}
