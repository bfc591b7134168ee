//! Writing services: their doors (one key a port), source ranges and addresses.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use lb_common::net::{Addr, Be16};
use lb_common::service::{RangeKey, ServiceKey4, ServiceKey6, address};
use lb_model::{Name, Service};

use super::publish::{Publisher, kernel};
use super::ranges::{self, Range};
use super::values;
use crate::plane::PlaneError;

/// Keys of all services of one family, and ranges of all services: sizes of the kernel's maps.
const MAX_DOORS: usize = 262_144;
const MAX_RANGES: usize = 65_536;

/// An address, a port and a protocol that packets are for.
pub type Door = (Addr, u16, u8);

/// Which doors are open, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    to: HashMap<Door, u32>,
    of: HashMap<u32, HashSet<Door>>,
    at: HashMap<Addr, usize>,
}

impl Doors {
    /// The service that a door leads to.
    #[must_use]
    pub fn service(&self, door: &Door) -> Option<u32> {
        self.to.get(door).copied()
    }

    /// Notes that a door leads to a service from now on.
    pub fn open(&mut self, door: Door, number: u32) {
        match self.to.insert(door, number) {
            Some(old) => {
                self.of.entry(old).or_default().remove(&door);
            }
            None => *self.at.entry(door.0).or_default() += 1,
        }
        self.of.entry(number).or_default().insert(door);
    }

    /// Notes that a door is shut; `true` if it was its address's last.
    fn close(&mut self, door: &Door) -> bool {
        let Some(number) = self.to.remove(door) else {
            return false;
        };
        if let Some(of) = self.of.get_mut(&number) {
            of.remove(door);
            if of.is_empty() {
                self.of.remove(&number);
            }
        }
        let left = self.at.get_mut(&door.0).map(|n| {
            *n -= 1;
            *n
        });
        if left == Some(0) {
            self.at.remove(&door.0);
        }
        left == Some(0)
    }

    fn of_family(&self, v4: bool) -> usize {
        self.at.iter().filter(|(a, _)| a.is_v4() == v4).map(|(_, n)| n).sum()
    }
}

fn doors(s: &Service) -> HashSet<Door> {
    let vip = Addr::from(s.listen.address);
    let ports = s.listen.ports.first()..=s.listen.ports.last();
    ports.map(|p| (vip, p, s.listen.protocol.number())).collect()
}

/// Absent is as good as removed.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

impl Publisher {
    pub(super) fn put_service(&mut self, s: &Service) -> Result<(), PlaneError> {
        let wanted = doors(s);
        let ranges = ranges::compile(s);
        self.check_room(s, &wanted, &ranges)?;
        let full = || PlaneError::Limit(format!("service '{}': there are 4095 services already", s.name));
        let number = self.books.services.take(&s.name).ok_or_else(full)?;
        self.books_changed = true;
        let old_ranges = self.ranges.get(&number).cloned().unwrap_or_default();
        self.write_ranges(number, &ranges)?;
        self.write_service(s)?;
        for range in old_ranges.keys().filter(|r| !ranges.contains_key(*r)) {
            self.remove_range(number, range)?;
        }
        self.mark_address(Addr::from(s.listen.address), address::VIP, true)?;
        for door in &wanted {
            self.open_door(*door, number)?;
        }
        self.close_doors(number, &wanted)?;
        self.services.insert(s.name.clone(), s.clone());
        Ok(())
    }

    fn check_room(&self, s: &Service, doors: &HashSet<Door>, ranges: &BTreeMap<Range, u32>) -> Result<(), PlaneError> {
        if !self.pools.contains_key(&s.pool) {
            return Err(PlaneError::Limit(format!("service '{}': its pool '{}' is not there", s.name, s.pool)));
        }
        let v4 = s.listen.address.is_ipv4();
        let new = doors.iter().filter(|d| self.doors.service(d).is_none()).count();
        if self.doors.of_family(v4) + new > MAX_DOORS {
            return Err(PlaneError::Limit(format!(
                "service '{}': all services together have more than {MAX_DOORS} ports of one family",
                s.name
            )));
        }
        let mine = self.books.services.get(&s.name);
        let others: usize = self.ranges.iter().filter(|(n, _)| Some(**n) != mine).map(|(_, r)| r.len()).sum();
        if others + ranges.len() > MAX_RANGES {
            return Err(PlaneError::Limit(format!(
                "service '{}': all services together have more than {MAX_RANGES} source ranges",
                s.name
            )));
        }
        Ok(())
    }

    /// The service's entry alone.
    pub(super) fn write_service(&mut self, s: &Service) -> Result<(), PlaneError> {
        let Some(number) = self.books.services.get(&s.name) else {
            return Ok(());
        };
        let pool = self.books.pools.get(&s.pool).unwrap_or(0);
        let algorithm = self.pools.get(&s.pool).map(|p| p.pool.algorithm).unwrap_or_default();
        let value = values::service(s, pool, algorithm);
        self.maps.service.set(number, value, 0).map_err(|e| kernel("writing a service", e))?;
        self.values.put(number, value);
        Ok(())
    }

    pub(super) fn remove_service(&mut self, name: &Name) -> Result<(), PlaneError> {
        if let Some(number) = self.books.services.get(name) {
            self.close_doors(number, &HashSet::new())?;
            let ranges: Vec<Range> = self.ranges.get(&number).map(|r| r.keys().copied().collect()).unwrap_or_default();
            for range in ranges {
                self.remove_range(number, &range)?;
            }
            self.values.remove(number);
            self.books.services.retire(name);
            self.books_changed = true;
        }
        self.services.remove(name);
        Ok(())
    }

    fn open_door(&mut self, door: Door, number: u32) -> Result<(), PlaneError> {
        if self.doors.service(&door) == Some(number) {
            return Ok(());
        }
        let (addr, port, protocol) = door;
        let (port, protocol) = (Be16::from_host(port), u16::from(protocol));
        let result = if addr.is_v4() {
            self.maps.services4.insert(ServiceKey4 { addr: addr.as_v4(), port, protocol }, number, 0)
        } else {
            self.maps.services6.insert(ServiceKey6 { addr, port, protocol }, number, 0)
        };
        result.map_err(|e| kernel("opening a port", e))?;
        self.doors.open(door, number);
        Ok(())
    }

    /// Closes the doors that lead to `number`, except those to keep. One that leads to another service by now stays.
    fn close_doors(&mut self, number: u32, keep: &HashSet<Door>) -> Result<(), PlaneError> {
        let mine = self.doors.of.get(&number);
        let shut: Vec<Door> = mine.into_iter().flatten().filter(|d| !keep.contains(*d)).copied().collect();
        for door in shut {
            let (addr, port, protocol) = door;
            let (port, protocol) = (Be16::from_host(port), u16::from(protocol));
            let result = if addr.is_v4() {
                self.maps.services4.remove(&ServiceKey4 { addr: addr.as_v4(), port, protocol })
            } else {
                self.maps.services6.remove(&ServiceKey6 { addr, port, protocol })
            };
            gone(result).map_err(|e| kernel("closing a port", e))?;
            if self.doors.close(&door) {
                self.mark_address(addr, address::VIP, false)?;
            }
        }
        Ok(())
    }

    fn write_ranges(&mut self, number: u32, ranges: &BTreeMap<Range, u32>) -> Result<(), PlaneError> {
        for (range, verdict) in ranges {
            if self.ranges.get(&number).and_then(|r| r.get(range)) == Some(verdict) {
                continue;
            }
            let result = self.maps.ranges.insert(&range_key(number, range), verdict, 0);
            result.map_err(|e| kernel("writing a source range", e))?;
            self.ranges.entry(number).or_default().insert(*range, *verdict);
        }
        Ok(())
    }

    fn remove_range(&mut self, number: u32, range: &Range) -> Result<(), PlaneError> {
        gone(self.maps.ranges.remove(&range_key(number, range))).map_err(|e| kernel("removing a source range", e))?;
        if let Some(r) = self.ranges.get_mut(&number) {
            r.remove(range);
            if r.is_empty() {
                self.ranges.remove(&number);
            }
        }
        Ok(())
    }

    /// Sets or clears a bit of what an address is to us. Source addresses of NAT stay marked while the maps live: answers
    /// of old flows still come to them.
    pub(super) fn mark_address(&mut self, addr: Addr, bit: u32, on: bool) -> Result<(), PlaneError> {
        let old = self.addresses.get(&addr).copied().unwrap_or(0);
        let new = if on { old | bit } else { old & !bit };
        if new == old {
            return Ok(());
        }
        let result =
            if new == 0 { gone(self.maps.addresses.remove(&addr)) } else { self.maps.addresses.insert(addr, new, 0) };
        result.map_err(|e| kernel("marking an address as ours", e))?;
        if new == 0 {
            self.addresses.remove(&addr)
        } else {
            self.addresses.insert(addr, new)
        };
        Ok(())
    }
}

fn range_key(number: u32, range: &Range) -> Key<RangeKey> {
    Key::new(32 + range.0, RangeKey { service: number, client: Addr::from_octets(range.1) })
}
