//! `[[pool]]` and its backends.

use lb_model::http::{HttpAlgorithm, HttpPool};
use lb_model::{Algorithm, Backend, BackendAddress, HealthCheck, Name, OnAllDown, Pool, Weight};

use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;

use super::places::Places;
use super::{health, upstream};

#[derive(Debug)]
pub(crate) struct DraftPool {
    pub(crate) table: Table,
    pub(crate) name: Option<Name>,
    /// Layer 4's.
    pub(crate) algorithm: Option<Algorithm>,
    /// As written, else layer 7's default.
    pub(crate) http_algorithm: Option<HttpAlgorithm>,
    pub(crate) http: Option<HttpPool>,
    pub(crate) maglev_table_size: Option<u32>,
    pub(crate) on_all_down: OnAllDown,
    pub(crate) health: Option<(Table, Option<HealthCheck>)>,
    /// Those whose address could be read.
    pub(crate) backends: Vec<DraftBackend>,
    /// How many were written.
    pub(crate) written: usize,
}

#[derive(Debug)]
pub(crate) struct DraftBackend {
    /// Of the address.
    pub(crate) place: Span,
    pub(crate) address: BackendAddress,
    pub(crate) weight: Option<Weight>,
    pub(crate) weight_place: Option<Span>,
    pub(crate) backup: bool,
    pub(crate) backup_place: Option<Span>,
}

pub(crate) fn read(table: Table, places: &mut Places, report: &mut Report<'_>) -> DraftPool {
    let http = upstream::read(&table, places, report);
    let http_algorithm = upstream::algorithm(&table);
    let backends: Vec<Table> = table.get("backends").unwrap_or_default();
    DraftPool {
        name: table.get("name"),
        algorithm: http_algorithm.map(|a| a.at_layer_4().unwrap_or_default()),
        http_algorithm,
        maglev_table_size: size(&table, report),
        on_all_down: match table.get("on_all_down") {
            Some("spread") => OnAllDown::Spread,
            _ => OnAllDown::Drop,
        },
        health: table.get::<Table>("health").map(|t| {
            let check = health::read(&t, http.as_ref().and_then(|h| h.tls.as_ref()), report);
            (t, check)
        }),
        written: backends.len(),
        backends: backends.iter().filter_map(|t| backend(t, report)).collect(),
        http,
        table,
    }
}

fn size(table: &Table, report: &mut Report<'_>) -> Option<u32> {
    let size = u32::try_from(table.get::<i64>("maglev_table_size")?).ok()?;
    if !lb_common::maglev::is_prime(size) {
        let problem =
            Problem::new(format!("maglev_table_size = {size} is not a prime, so some slots could not be reached"));
        let next = lb_common::maglev::prime_at_least(size);
        report.error(table.place("maglev_table_size"), problem.hint(format!("the next prime is {next}")));
        return None;
    }
    Some(size)
}

fn backend(table: &Table, report: &mut Report<'_>) -> Option<DraftBackend> {
    let address: BackendAddress = table.get("address")?;
    let place = table.place("address");
    if let BackendAddress::Ip { ip, .. } = &address
        && (ip.is_unspecified() || ip.is_multicast())
    {
        let problem = Problem::new(format!("{ip} is no host's address, so it cannot be a backend's"));
        report.error(place.clone(), problem);
    }
    Some(DraftBackend {
        address,
        place,
        weight: table.get::<i64>("weight").and_then(|w| Weight::new(w.try_into().ok()?)),
        weight_place: table.is_written("weight").then(|| table.place("weight")),
        backup: table.get("backup").unwrap_or_default(),
        backup_place: table.key_place("backup"),
    })
}

impl DraftPool {
    pub(super) fn into_pool(self) -> Option<Pool> {
        let backend = |b: DraftBackend| Some(Backend { address: b.address, weight: b.weight?, backup: b.backup });
        let backends = self.backends.into_iter().map(backend).collect::<Option<_>>()?;
        let mut pool = Pool::new(self.name?, self.algorithm?, backends).ok()?;
        pool.maglev_table_size = self.maglev_table_size?;
        pool.on_all_down = self.on_all_down;
        pool.http = self.http?;
        pool.health = self.health.and_then(|(_, check)| check);
        Some(pool)
    }
}
