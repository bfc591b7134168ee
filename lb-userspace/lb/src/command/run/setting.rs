//! What the daemon starts from: a file, or flags.

use std::path::{Path, PathBuf};

use lb_config::{Diagnostic, Environment};
use lb_control::Source;
use lb_model::{Desired, Host, PlaneChoice};

use super::Run;
use crate::exit::Failure;
use crate::pins;
use crate::place;
use crate::print;

#[derive(Debug)]
pub(super) struct Setting {
    /// As it is written: a reload is compared with it.
    pub(super) desired: Desired,
    /// Its `[host]` as it is in force, where the command line or this host had another idea.
    pub(super) host: Host,
    pub(super) source: Source,
    /// Why the data plane is what it is, where nobody has asked for it in so many words.
    pub(super) why: Option<&'static str>,
    /// What the operator should know from the beginning.
    pub(super) notes: Vec<String>,
}

pub(super) fn from_file(file: &Path) -> Result<Setting, Vec<Diagnostic>> {
    let loaded = lb_config::load(file)?;
    for warning in &loaded.warnings {
        tracing::warn!(file = warning.file, line = warning.line, "{}", warning.message);
    }
    // A reload must find it wherever the process stands.
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    Ok(Setting {
        host: loaded.desired.host.clone(),
        desired: loaded.desired,
        source: Source::File(path),
        why: None,
        notes: Vec::new(),
    })
}

pub(super) fn from_flags(args: &Run) -> Result<Setting, Failure> {
    let environment = Environment::of_process();
    // What is made of the flags names files in it.
    let (own, notes) = if args.state_dir.is_some() { (None, Vec::new()) } else { elsewhere(&environment.state_dir()) };
    let state_dir = args.state_dir.clone().or(own);
    let flags = lb_config::Flags {
        listen: &args.listen,
        backends: &args.backend,
        interfaces: &args.interface,
        data_plane: args.data_plane.map(Into::into),
        cert: args.cert.as_deref(),
        key: args.key.as_deref(),
        state_dir: state_dir.as_deref(),
    };
    let mut desired = lb_config::from_flags_in(flags, &environment).map_err(|errors| {
        errors.iter().for_each(|e| print::to_stderr(&format!("error: {e}")));
        Failure::Said
    })?;
    let host = &mut desired.host;
    let chosen = args.data_plane.is_none() && host.data_plane == PlaneChoice::Userspace;
    let why = chosen
        .then_some("what is listened on is this host's own and no --interface is named, so no packet would meet XDP");
    host.pin_dir = args.pin_dir.clone().unwrap_or_else(|| host.pin_dir.clone());
    host.metrics = args.metrics;
    Ok(Setting { host: desired.host.clone(), desired, source: Source::Flags, why, notes })
}

/// A directory of the user's own where the usual one cannot be had, and the note that says so.
fn elsewhere(usual: &Path) -> (Option<PathBuf>, Vec<String>) {
    if !Environment::of_process().ordinary_user || place::is_usable(usual) {
        return (None, Vec::new());
    }
    let Ok(own): Result<PathBuf, _> = place::private_dir() else { return (None, Vec::new()) };
    let own = own.join("state");
    let note = format!(
        "the state directory {} cannot be written; changes by command line are kept in {}",
        usual.display(),
        own.display()
    );
    tracing::warn!("{note}");
    (Some(own), vec![note])
}

impl Setting {
    /// A user without a writable home still serves at once: the usual state directory, where it cannot be had, gives way
    /// to one of the user's own. One that was asked for does not.
    pub(super) fn settle_state_dir(&mut self) {
        if self.host.state_dir != Environment::of_process().state_dir() {
            return;
        }
        let (own, notes) = elsewhere(&self.host.state_dir);
        self.notes.extend(notes);
        if let Some(own) = own {
            // The control plane keeps its files there.
            self.desired.host.state_dir.clone_from(&own);
            self.host.state_dir = own;
        }
    }

    /// The certificate that flags without one are served with.
    pub(super) fn make_certificate(&mut self) -> Result<(), Failure> {
        if let Some(note) = super::self_signed::make(&self.desired, &self.host.state_dir).map_err(Failure::Refused)? {
            tracing::warn!("{note}");
            self.notes.push(note);
        }
        Ok(())
    }

    /// What is pinned must outlive this process, and its mounts if they are its own.
    pub(super) fn settle_pin_dir(&mut self) {
        let host = &mut self.host;
        let kernel = host.data_plane != PlaneChoice::Userspace && nix::unistd::geteuid().is_root();
        if !kernel || host.interfaces.is_empty() {
            return;
        }
        let lasting = pins::lasting(&host.pin_dir, true);
        if lasting != host.pin_dir {
            let note = format!(
                "this process has mounts of its own (as ip netns exec gives it); the data plane is pinned in {}",
                lasting.display()
            );
            self.notes.push(note);
            host.pin_dir = lasting;
        }
    }
}
