//! Taking over what an earlier `lb` left: its maps with flows and counters, and who had which number.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_common::net::Addr;
use lb_common::service::address;
use lb_model::{Host, Name};

use super::numbers::BackendKey;
use super::pins::{self, Left};
use super::publish::{Books, Publisher, kernel};
use super::records;
use super::snat::Sources;
use crate::plane::PlaneError;

/// Are there maps that can be taken over? If there are others, they are let go of, and a note says why. The program that
/// uses them goes on until it is replaced.
///
/// # Errors
/// If old pins cannot be removed.
pub fn consider(host: &Host, object: &[u8], notes: &mut Vec<String>) -> Result<Option<Books>, PlaneError> {
    let books = match pins::inspect(&host.pin_dir, object, host.flow_table_size) {
        Left::Nothing => return Ok(None),
        Left::Same(id) => records::load(&host.state_dir, id),
        Left::Different(why) => Err(why),
    };
    match books {
        Ok(books) => Ok(Some(books)),
        Err(why) => {
            tracing::warn!(
                "the data plane that an earlier lb left cannot be taken over and is rebuilt; its flows end: {why}"
            );
            notes.push(format!("rebuilt the data plane that an earlier lb left: {why}"));
            pins::forget_maps(&host.pin_dir)?;
            Ok(None)
        }
    }
}

/// Reads back from the maps what the publisher would know if it had written them.
///
/// # Errors
/// If the kernel refuses to be read.
pub fn restore(p: &mut Publisher, books: Books, snat: &[IpAddr]) -> Result<(), PlaneError> {
    for (_, number) in books.services.live() {
        let value = p.maps.service.get(&number, 0).map_err(|e| kernel("reading a service", e))?;
        p.values.put(number, value);
    }
    p.books = books;
    for entry in p.maps.services4.iter() {
        let (key, number) = entry.map_err(|e| kernel("reading the services", e))?;
        p.doors.open((Addr::v4(key.addr), key.port.host(), key.protocol as u8), number);
    }
    for entry in p.maps.services6.iter() {
        let (key, number) = entry.map_err(|e| kernel("reading the services", e))?;
        p.doors.open((key.addr, key.port.host(), key.protocol as u8), number);
    }
    for entry in p.maps.ranges.iter() {
        let (key, verdict) = entry.map_err(|e| kernel("reading the source ranges", e))?;
        let range = (key.prefix_len() - 32, key.data().client.octets());
        p.ranges.entry(key.data().service).or_default().insert(range, verdict);
    }
    for entry in p.maps.addresses.iter() {
        let (addr, bits) = entry.map_err(|e| kernel("reading the addresses", e))?;
        p.addresses.insert(addr, bits);
    }
    let in_use = p.maps.snat.iter().flatten().take_while(|a| *a != Addr::UNSPECIFIED).map(IpAddr::from).collect();
    p.sources = Sources::resume(snat, in_use);
    p.sources_written = 0;
    Ok(())
}

/// After the first whole plan is in force: takes out what it does not mention.
///
/// # Errors
/// If the kernel refuses a write.
pub fn remove_leftovers(p: &mut Publisher) -> Result<(), PlaneError> {
    let names = |live: &super::numbers::Numbers<Name>| live.live().map(|(k, _)| k.clone()).collect::<Vec<_>>();
    for name in names(&p.books.services) {
        if !p.services.contains_key(&name) {
            tracing::info!(service = %name, "removing a service that an earlier lb left and the configuration does not have");
            p.remove_service(&name)?;
        }
    }
    for name in names(&p.books.pools) {
        if !p.pools.contains_key(&name) {
            p.remove_pool(&name)?;
        }
    }
    let wanted: BTreeSet<u32> = p.pools.values().flat_map(|pool| pool.numbers.iter().copied()).collect();
    p.retire_backends(|_: &BackendKey, n| !wanted.contains(&n))?;
    let vips: BTreeSet<[u8; 16]> = p.services.values().map(|s| Addr::from(s.listen.address).octets()).collect();
    let stale: Vec<Addr> = p.addresses.keys().filter(|a| !vips.contains(&a.octets())).copied().collect();
    stale.into_iter().try_for_each(|a| p.mark_address(a, address::VIP, false))
}
