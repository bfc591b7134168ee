//! Layer 7 under stress: changes under load lose no request, and hostile clients cost little and harm nobody else.

mod floods;
mod load;
mod slow;
mod upheaval;
mod witness;

use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE: Mutex<()> = Mutex::new(());

/// One stress at a time: each wants the whole machine, and what one does to others is what is looked at.
fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
