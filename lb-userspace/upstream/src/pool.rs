//! A pool that routes hold on to, whatever is published for it.

use lb_model::Name;

/// Stable over reloads while a pool of that name exists.
#[derive(Debug)]
pub struct PoolHandle {
    name: Name,
}

impl PoolHandle {
    pub(crate) fn new(name: Name) -> Self {
        Self { name }
    }

    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }
}
