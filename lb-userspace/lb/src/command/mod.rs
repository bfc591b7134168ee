//! The commands, one file each.

pub(crate) mod backend;
pub(crate) mod cache;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod detach;
pub(crate) mod doctor;
mod drain;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod flows;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod reload;
pub(crate) mod route;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod tap;
pub(crate) mod top;

use crate::cli::{Cli, Command};
use crate::exit::{Failure, Outcome};

pub(crate) fn dispatch(Cli { global, command }: Cli) -> Outcome {
    match command {
        Command::Run(args) => run::run(&args, &global),
        Command::Check(args) => check::check(&args, &global),
        Command::Plan(args) => plan::plan(&args, &global),
        Command::Reload => reload::reload(&global),
        Command::Status => status::status(&global),
        Command::Top(args) => top::top(&args, &global),
        Command::Service(args) => service::service(&args, &global),
        Command::Backend(args) => backend::backend(&args, &global),
        Command::Flows(args) => flows::flows(&args, &global),
        Command::Explain(args) => explain::explain(&args, &global),
        Command::Export => export::export(&global),
        Command::Detach(args) => detach::detach(&args, &global),
        Command::Doctor => doctor::doctor(&global),
        Command::Completions(args) => completions::completions(&args, &global),
        Command::Man => man::man(&global),
        Command::Route(args) => route::route(&args, &global),
        Command::Consumer(_) => not_built("consumer", "policies and consumers"),
        Command::Cache(args) => cache::cache(&args, &global),
        Command::Cert(args) => cert::cert(&args, &global),
        Command::Analytics(_) => not_built("analytics", "policies and consumers"),
        Command::Tap(args) => tap::tap(&args, &global),
        Command::Decap(_) => not_built("decap", "encapsulation"),
        Command::Watch(_) => not_built("watch", "sampled drops; counters are in 'lb status' and 'lb service list'"),
        Command::Capture(_) => not_built("capture", "packets as pcap"),
    }
}

/// Refuses by name what the contract names and this version does not do.
pub(crate) fn not_built(what: &str, part: &str) -> Outcome {
    Err(Failure::wrong(format!("'lb {what}' is not built yet ({part})")))
}
