//! How many retries a route may make: a share of its requests of the last ten seconds.

/// Of one route, shared by all workers. Ten retries in ten seconds are always allowed.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u8,
}

impl RetryBudget {
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self { percent }
    }

    #[must_use]
    pub fn percent(&self) -> u8 {
        self.percent
    }
}
