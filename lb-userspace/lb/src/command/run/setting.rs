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
    if args.listen.iter().any(|l| l.starts_with("http://") || l.starts_with("https://")) {
        return Err(Failure::wrong("--listen with http:// or https:// is not built yet (layer 7)"));
    }
    let mut desired = lb_config::from_flags(&args.listen, &args.backend, &args.interface).map_err(|errors| {
        errors.iter().for_each(|e| print::to_stderr(&format!("error: {e}")));
        Failure::Said
    })?;
    let host = &mut desired.host;
    let chosen = args.data_plane.is_none() && host.data_plane == PlaneChoice::Userspace;
    let why = chosen
        .then_some("what is listened on is this host's own and no --interface is named, so no packet would meet XDP");
    if let Some(kind) = args.data_plane {
        host.data_plane = kind.into();
    }
    host.state_dir = args.state_dir.clone().unwrap_or_else(|| host.state_dir.clone());
    host.pin_dir = args.pin_dir.clone().unwrap_or_else(|| host.pin_dir.clone());
    host.metrics = args.metrics;
    Ok(Setting { host: desired.host.clone(), desired, source: Source::Flags, why, notes: Vec::new() })
}

impl Setting {
    /// A user without a writable home still serves at once: the usual state directory, where it cannot be had, gives way
    /// to one of the user's own. One that was asked for does not.
    pub(super) fn settle_state_dir(&mut self) {
        let dir = &self.host.state_dir;
        let environment = Environment::of_process();
        if !environment.ordinary_user || *dir != environment.state_dir() || place::is_usable(dir) {
            return;
        }
        let Ok(own): Result<PathBuf, _> = place::private_dir() else { return };
        let own = own.join("state");
        let note = format!(
            "the state directory {} cannot be written; changes by command line are kept in {}",
            dir.display(),
            own.display()
        );
        tracing::warn!("{note}");
        self.notes.push(note);
        // The control plane keeps its files there.
        self.desired.host.state_dir.clone_from(&own);
        self.host.state_dir = own;
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
