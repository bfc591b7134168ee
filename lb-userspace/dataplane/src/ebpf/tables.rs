//! A pool's table: its words, and publishing them in one step.

use std::io;

use aya::maps::MapData;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use lb_balance::{Member, slots};
use lb_model::Algorithm;
use std::os::fd::AsFd;

use super::batch;
use super::maps::{BPF_F_INNER_MAP, Maps};
use crate::plan::PlanePool;
use crate::plane::PlaneError;

/// What a table depends on: two pools with equal inputs have equal tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInput {
    algorithm: Algorithm,
    maglev_size: u32,
    members: Vec<(u32, Member)>,
}

impl TableInput {
    /// `numbers` are the backends' numbers, in the order of the pool's members.
    #[must_use]
    pub fn of(pool: &PlanePool, numbers: &[u32]) -> Self {
        let member =
            |m: &crate::plan::Member| Member { ip: m.ip, port: m.port, weight: m.weight.get(), eligible: m.eligible };
        let members = pool.members.iter().zip(numbers).map(|(m, n)| (*n, member(m)));
        Self {
            algorithm: pool.algorithm,
            maglev_size: pool.maglev_table_size,
            members: members.filter(|(_, m)| m.effective_weight() > 0).collect(),
        }
    }

    /// The table as `lb_common::pool` lays it down.
    #[must_use]
    pub fn words(&self) -> Vec<u32> {
        let members: Vec<Member> = self.members.iter().map(|(_, m)| *m).collect();
        let slots = slots(self.algorithm, &members, self.maglev_size);
        let mut words = Vec::with_capacity(slots.len() + 2);
        words.push(slots.len() as u32);
        words.extend(slots.iter().map(|&i| self.members[i as usize].0));
        if self.algorithm == Algorithm::LeastConnections {
            words.push(self.members.len() as u32);
            words.extend(self.members.iter().map(|(n, _)| *n));
        }
        words
    }
}

/// Puts a table under a pool's number: filled first, then swapped in, so that a packet sees the old one or the new one.
/// The old one goes when the last packet using it is done (RCU).
///
/// # Errors
/// If the kernel has no memory for it.
pub fn publish(maps: &mut Maps, pool: u32, words: &[u32]) -> Result<(), PlaneError> {
    let kernel = |source| PlaneError::Kernel { call: "publishing a pool's table".into(), source };
    let definition =
        aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, 4, words.len() as u32, BPF_F_INNER_MAP);
    let table = MapData::create(definition, "lb_pool", None).map_err(|e| kernel(io::Error::other(e)))?;
    let keys: Vec<u32> = (0..words.len() as u32).collect();
    batch::write(table.fd().as_fd(), &keys, words).map_err(kernel)?;
    maps.pools.set(pool, &table, 0).map_err(|e| kernel(io::Error::other(e)))
}

/// A pool's table as published; empty if there is none.
///
/// # Errors
/// If the kernel refuses.
pub fn read(maps: &Maps, pool: u32) -> Result<Vec<u32>, PlaneError> {
    let kernel = |source| PlaneError::Kernel { call: "reading a pool's table".into(), source };
    let Ok(table) = maps.pools.get(&pool, 0) else {
        return Ok(Vec::new());
    };
    let room = table.info().map_err(|e| kernel(io::Error::other(e)))?.max_entries() as usize;
    let (mut keys, mut words) = (Vec::<u32>::new(), Vec::new());
    batch::read(table.fd().as_fd(), &mut batch::Cursor::default(), room, &mut keys, &mut words).map_err(kernel)?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Condition, Member as PlaneMember};
    use lb_model::{BackendAddress, Weight};

    fn member(last: u8, weight: u32, eligible: bool) -> PlaneMember {
        let ip = std::net::IpAddr::from([10, 0, 0, last]);
        PlaneMember {
            configured: BackendAddress::Ip { ip, port: Some(80) },
            ip,
            port: Some(80),
            weight: Weight::new(weight).expect("a weight"),
            eligible,
            condition: Condition::Up,
        }
    }

    fn words(algorithm: Algorithm) -> Vec<u32> {
        let members = vec![member(1, 1, true), member(2, 2, true), member(3, 1, false), member(4, 0, true)];
        let name = "web".parse().expect("a name");
        let pool = PlanePool { name, algorithm, maglev_table_size: 101, members };
        TableInput::of(&pool, &[7, 5, 9, 11]).words()
    }

    #[test]
    fn tables_hold_numbers_of_those_that_take_flows() {
        assert_eq!(words(Algorithm::RoundRobin), [2, 7, 5]);
        assert_eq!(words(Algorithm::WeightedRoundRobin), [3, 5, 7, 5]);
        assert_eq!(words(Algorithm::LeastConnections), [3, 5, 7, 5, 2, 7, 5]);
        let maglev = words(Algorithm::Maglev);
        assert_eq!((maglev[0], maglev.len()), (101, 102));
        let fives = maglev[1..].iter().filter(|n| **n == 5).count();
        assert!((62..=72).contains(&fives) && maglev[1..].iter().all(|n| [5, 7].contains(n)));
    }

    #[test]
    fn a_pool_without_takers_has_an_empty_table() {
        let name = "web".parse().expect("a name");
        let pool = PlanePool {
            name,
            algorithm: Algorithm::Maglev,
            maglev_table_size: 101,
            members: vec![member(1, 1, false)],
        };
        assert_eq!(TableInput::of(&pool, &[1]).words(), [0]);
    }
}
