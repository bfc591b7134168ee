//! `[[listener.certificate]]`.

use std::collections::HashMap;

use lb_model::http::{AcmeAccount, Certificate, CertificateSource};

use super::places::Places;
use super::{host_name, upstream};
use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;
use crate::value::At;

/// A listener's, in their order.
pub(super) fn read_all(listener: &Table, places: &mut Places, report: &mut Report<'_>) -> Vec<Certificate> {
    let tables: Vec<Table> = listener.get("certificate").unwrap_or_default();
    if listener.is_written("certificate") && tables.is_empty() && !report.failed() {
        let problem = Problem::new("an empty list of certificates is neither TLS nor clear text");
        report.error(listener.place("certificate"), problem.hint("leave it out for clear text"));
    }
    let mut first: HashMap<String, Span> = HashMap::new();
    tables.iter().filter_map(|t| read(t, &mut first, places, report)).collect()
}

fn read(
    table: &Table,
    first: &mut HashMap<String, Span>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Certificate> {
    let mut names = Vec::new();
    for At { span, value } in table.list::<String>("names") {
        let name = match host_name::pattern(&value) {
            Ok(name) => name.to_string(),
            Err(problem) => {
                report.error(span, problem);
                continue;
            }
        };
        if let Some(earlier) = first.get(&name) {
            let problem = Problem::new(format!("this listener has a certificate for '{name}' already"));
            let line = report.line(earlier);
            report.error(span, problem.hint(format!("the first is on {line}; take the name out of one of them")));
            continue;
        }
        first.insert(name.clone(), span);
        names.push(name);
    }
    if table.is_written("acme") {
        orderable(table, report);
    }
    let source = source(table, places, report)?;
    Some(Certificate { names, source })
}

fn source(table: &Table, places: &mut Places, report: &mut Report<'_>) -> Option<CertificateSource> {
    let files = ["cert", "key"].iter().find_map(|key| table.key_place(key));
    let acme = table.key_place("acme");
    match (files, acme) {
        (Some(files), Some(acme)) => {
            let later = if files.start > acme.start { files } else { acme };
            let problem = Problem::new("a certificate comes from files or is ordered, not both");
            report.error(later, problem.hint("keep cert and key, or acme"));
            None
        }
        (None, None) => {
            let problem = Problem::new("[[listener.certificate]] has neither cert and key nor acme");
            report.missing(table.span.clone(), problem.hint("add cert = \"site.pem\" and key = \"site.key\""));
            None
        }
        (Some(_), None) => {
            let (cert, key) = upstream::pair(table, places, report)?;
            Some(CertificateSource::Files { cert, key })
        }
        (None, Some(_)) => {
            let acme: Table = table.get("acme")?;
            let ca = places.file(&acme, "ca");
            let directory = acme.get("directory")?;
            Some(CertificateSource::Acme(AcmeAccount { directory, email: acme.get("email"), ca }))
        }
    }
}

/// What an authority can be asked for by the challenges that a listener can answer (RFC 8555 §8.3, RFC 8737).
fn orderable(table: &Table, report: &mut Report<'_>) {
    if !table.is_written("names") || table.is_empty_list("names") {
        let problem = Problem::new("a certificate cannot be ordered without names");
        report.missing(table.place("acme"), problem.hint("add names = [\"www.example.com\"]"));
    }
    for At { span, value } in table.list::<String>("names") {
        if value.starts_with("*.") {
            let problem =
                Problem::new(format!("'{value}' can only be ordered by records in DNS, which lb does not make"));
            report.error(span, problem.hint("name each host, or order it elsewhere and use cert and key"));
        }
    }
}
