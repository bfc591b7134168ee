//! What of the process's surroundings decides defaults, taken as a value so that parsing stays pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lb_model::Host;

/// Who runs `lb`, and where such a user keeps things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `$STATE_DIRECTORY`, as systemd sets it: one or more paths, separated by colons.
    pub state_directory: Option<OsString>,
    pub xdg_runtime_dir: Option<PathBuf>,
    pub xdg_state_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
    /// Not root.
    pub ordinary_user: bool,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        // The base directory specification has relative paths ignored.
        let path = |name| var(name).map(PathBuf::from).filter(|p| p.is_absolute());
        Self {
            state_directory: var("STATE_DIRECTORY"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            xdg_state_home: path("XDG_STATE_HOME"),
            home: path("HOME"),
            ordinary_user: !nix::unistd::geteuid().is_root(),
        }
    }

    /// Where CLI changes are kept unless `[host] state_dir` says otherwise.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let given = self.state_directory.as_ref().and_then(|list| std::env::split_paths(list).next());
        if let Some(first) = given.filter(|p| p.is_absolute()) {
            return first;
        }
        let home = || self.home.as_ref().map(|h| h.join(".local/state"));
        match self.xdg_state_home.clone().or_else(home) {
            Some(state_home) if self.ordinary_user => state_home.join("lb"),
            _ => Host::DEFAULT_STATE_DIR.into(),
        }
    }

    /// The control socket unless `[host] socket` (or the command line) says otherwise. Without a runtime directory an
    /// ordinary user's stands in the state directory, never in one that everybody may write to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        if !self.ordinary_user {
            return Host::DEFAULT_SOCKET.into();
        }
        self.xdg_runtime_dir.as_deref().map_or_else(|| self.state_dir(), Path::to_path_buf).join("lb.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Environment {
        Environment {
            xdg_runtime_dir: Some("/run/user/1000".into()),
            home: Some("/home/ann".into()),
            ordinary_user: true,
            ..Environment::default()
        }
    }

    #[test]
    fn root_has_the_system_s_places() {
        let root = Environment { home: Some("/root".into()), ..Environment::default() };
        assert_eq!(root.state_dir(), Path::new("/var/lib/lb"));
        assert_eq!(root.socket(), Path::new("/run/lb/lb.sock"));
    }

    #[test]
    fn systemd_s_directory_wins_and_the_first_of_several_counts() {
        let list = Some(OsString::from("/var/lib/a:/var/lib/b"));
        assert_eq!(Environment { state_directory: list.clone(), ..user() }.state_dir(), Path::new("/var/lib/a"));
        let root = Environment { state_directory: list, ..Environment::default() };
        assert_eq!(root.state_dir(), Path::new("/var/lib/a"));
    }

    #[test]
    fn an_ordinary_user_has_his_own() {
        assert_eq!(user().state_dir(), Path::new("/home/ann/.local/state/lb"));
        assert_eq!(user().socket(), Path::new("/run/user/1000/lb.sock"));
        let given = Environment { xdg_state_home: Some("/s".into()), xdg_runtime_dir: None, ..user() };
        assert_eq!((given.state_dir(), given.socket()), ("/s/lb".into(), "/s/lb/lb.sock".into()));
    }
}
