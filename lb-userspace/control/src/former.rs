//! What the data plane held when it was last changed: a backend that the file loses while nobody runs has flows in
//! the kernel still, and drains when the next process begins.

use std::net::IpAddr;

use lb_dataplane::{PlanePool, PlaneState};
use lb_model::{BackendId, Weight};
use serde::{Deserialize, Serialize};

use crate::drain::{Key, Remains, Why};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pools: Vec<Pool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pool {
    name: String,
    algorithm: String,
    maglev_table_size: u32,
    backends: Vec<Backend>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Backend {
    address: String,
    weight: u32,
    resolved: Vec<IpAddr>,
}

impl Former {
    #[must_use]
    pub fn of(state: &PlaneState) -> Self {
        Self { pools: state.pools.values().map(Pool::of).collect() }
    }

    /// Every backend, as what would leave; rows that make no sense are left out.
    pub fn leaving(&self) -> impl Iterator<Item = (Key, Why)> {
        self.pools.iter().flat_map(|pool| pool.backends.iter().filter_map(|b| pool.leaving(b)))
    }
}

impl Pool {
    fn of(pool: &PlanePool) -> Self {
        let mut backends: Vec<Backend> = Vec::new();
        for m in &pool.members {
            let address = m.configured.to_string();
            match backends.iter_mut().rev().find(|b| b.address == address) {
                Some(backend) => backend.resolved.push(m.ip),
                None => backends.push(Backend { address, weight: m.weight.get().into(), resolved: vec![m.ip] }),
            }
        }
        let (algorithm, maglev_table_size) = (pool.algorithm.as_str().to_owned(), pool.maglev_table_size);
        Self { name: pool.name.to_string(), algorithm, maglev_table_size, backends }
    }

    fn leaving(&self, backend: &Backend) -> Option<(Key, Why)> {
        let id = BackendId { pool: self.name.parse().ok()?, address: backend.address.parse().ok()? };
        let remains = Remains {
            weight: Weight::new(backend.weight)?,
            addresses: backend.resolved.clone(),
            algorithm: self.algorithm.parse().ok()?,
            maglev_table_size: self.maglev_table_size,
            layer_4: true,
            http: None,
        };
        let known = lb_common::maglev::is_prime(self.maglev_table_size);
        known.then_some((id.into(), Why::Leaving { remains, hidden: false }))
    }
}
