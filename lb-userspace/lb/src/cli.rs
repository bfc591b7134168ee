//! The command line: every command, flag and help text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::{
    backend, cache, cert, check, completions, detach, explain, flows, plan, route, run, service, tap, top,
};

#[derive(Debug, Parser)]
#[command(
    name = "lb",
    version,
    about = "A load balancer: layer 4 in the kernel with XDP, or in user space; layer 7 as a reverse proxy",
    after_help = "Exit status: 0 done; 1 the daemon or the network refused; 2 what was typed or configured is wrong.\n\
                  \n\
                  At once, without a file:\n  \
                  lb run --listen 192.0.2.10:80/tcp --backend 10.0.0.11:80 --backend 10.0.0.12:80 --interface eth0\n  \
                  lb run --listen https://192.0.2.10 --backend 10.0.0.11:8080",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The control socket [default: /run/lb/lb.sock; for an ordinary user below $XDG_RUNTIME_DIR]
    #[arg(long, global = true, value_name = "PATH", env = "LB_SOCKET", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the balancer in the foreground
    Run(run::Run),
    /// Check a configuration file and show every error with its place
    Check(check::Check),
    /// Show what a reload of a file would change
    Plan(plan::Plan),
    /// Re-read the configuration file; refused whole if it is invalid
    Reload,
    /// Show the data plane in use and why, interfaces, services and health
    Status,
    /// Show the status live in the terminal (q quits)
    Top(top::Top),
    /// Show services
    #[command(subcommand)]
    Service(service::Service),
    /// Show and change backends
    #[command(subcommand)]
    Backend(backend::Backend),
    /// Show routes with their hits (layer 7)
    #[command(subcommand)]
    Route(route::Route),
    /// Show what the cache holds, and purge it
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Show certificates
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Show live requests of a route, secrets redacted
    Tap(tap::Tap),
    /// Show the live flow table
    Flows(flows::Flows),
    /// Show where a packet or a request would go, and why, step by step
    Explain(explain::Explain),
    /// Print the state in force, changes by CLI included, as a configuration file
    Export,
    /// Take everything off the interfaces and end the daemon
    Detach(detach::Detach),
    /// Show what this host can do and what to change
    Doctor,
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the manual page (roff), e.g. lb man | man -l -
    Man,

    #[command(hide = true)]
    Consumer(Later),
    #[command(hide = true)]
    Analytics(Later),
    #[command(hide = true)]
    Decap(Later),
    #[command(hide = true)]
    Watch(Later),
    #[command(hide = true)]
    Capture(Later),
}

/// A command that is known and not built: whatever follows it is taken, so that the refusal names the command.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_has_help() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                let flags = sub.get_arguments().filter(|a| !a.is_hide_set());
                flags.for_each(|a| assert!(a.get_help().is_some(), "{} {}", sub.get_name(), a.get_id()));
                walk(sub);
            }
        }
        walk(&Cli::command());
    }
}
