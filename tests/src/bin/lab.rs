//! `lab`: a network of namespaces to play in, from the command line.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology, list_labels};

#[derive(Parser)]
#[command(about = "A network of namespaces: a client, a balancer and backends")]
struct Options {
    /// Which lab, where there are several.
    #[arg(long, global = true, default_value = "play")]
    lab: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes the lab and leaves it standing.
    Up {
        #[arg(long, value_enum, default_value_t = Arms::One)]
        arms: Arms,
        #[arg(long, default_value_t = 3)]
        backends: usize,
        /// Makes the service addresses local to the balancer, as the userspace engine needs.
        #[arg(long)]
        local_services: bool,
    },
    /// Runs a command on a host: client, lb, b0, b1 …, net.
    Exec {
        host: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Removes the lab.
    Down,
    /// Names the labs that stand, and the hosts of this one with their addresses.
    List,
}

#[derive(Clone, Copy, ValueEnum)]
enum Arms {
    One,
    Two,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lab: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<()> {
    let label = &options.lab;
    if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) || label.contains(['-', '/']) {
        bail!("a lab's name starts with a letter and has neither '-' nor '/'");
    }
    match options.what {
        What::Up { arms, backends, local_services } => {
            if list_labels()?.contains(label) {
                bail!("the lab '{label}' stands already; `lab down` removes it");
            }
            let topology = match arms {
                Arms::One => Topology::OneArmed,
                Arms::Two => Topology::TwoArmed,
            };
            let mut lab = Lab::named(label, topology, backends)?;
            if local_services {
                lab.services_local_to_balancer()?;
            }
            lab.keep(true);
            describe(&lab);
        }
        What::Exec { host, command } => {
            let lab = Lab::find(label)?;
            let names: Vec<&str> = lab.hosts().map(|h| h.name()).collect();
            let target = lab.hosts().find(|h| h.name() == host);
            let target = target.with_context(|| format!("no host '{host}': there are {}", names.join(", ")))?;
            let net = format!("--net=/run/netns/{}", target.netns());
            // Not `ip netns exec`: it would hide /sys/fs/bpf.
            let error = Command::new("nsenter").arg(net).arg("--").args(&command).exec();
            bail!("cannot run nsenter: {error}");
        }
        What::Down => {
            let mut lab = Lab::find(label)?;
            lab.keep(false);
        }
        What::List => {
            for name in list_labels()? {
                println!("{name}");
            }
            if let Ok(lab) = Lab::find(label) {
                describe(&lab);
            }
        }
    }
    Ok(())
}

fn describe(lab: &Lab) {
    let line = |name: &str, at: &dyn Fn(Family) -> std::net::IpAddr| {
        println!("{name:8} {:16} {}", at(Family::V4).to_string(), at(Family::V6));
    };
    line("client", &|f| addresses::client(lab.topology(), f));
    line("lb", &|f| addresses::balancer_front(lab.topology(), f));
    if lab.topology() == Topology::TwoArmed {
        line("lb/eth1", &addresses::balancer_back);
    }
    for (index, host) in lab.backends().iter().enumerate() {
        line(host.name(), &|f| addresses::backend(index, f));
    }
    println!("services on {} and {}, reached by way of the balancer", addresses::VIPS4, addresses::VIPS6);
}
