//! `lb run --listen … --backend …`: a configuration without a file, through the same door as one.

use std::fmt::Write as _;

use lb_model::{Desired, Listen, PlaneChoice};

use crate::environment::Environment;
use crate::load::parse_in;

/// What was said on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags<'a> {
    pub listen: &'a [String],
    pub backends: &'a [String],
    pub interfaces: &'a [String],
    /// `None`: userspace for this host's own addresses without an interface, else automatic.
    pub data_plane: Option<PlaneChoice>,
}

/// One pool, and a service for each `--listen`.
///
/// # Errors
/// A sentence for everything that is wrong.
pub fn from_flags(listen: &[String], backends: &[String], interfaces: &[String]) -> Result<Desired, Vec<String>> {
    from_flags_in(Flags { listen, backends, interfaces, data_plane: None }, &Environment::of_process())
}

/// The same with the data plane asked for and the defaults of a given environment: a pure function.
///
/// # Errors
/// A sentence for everything that is wrong.
pub fn from_flags_in(flags: Flags<'_>, environment: &Environment) -> Result<Desired, Vec<String>> {
    let Flags { listen, backends, .. } = flags;
    if listen.is_empty() {
        return Err(vec!["--listen is missing: for example --listen 192.0.2.10:80/tcp".to_owned()]);
    }
    if backends.is_empty() {
        return Err(vec!["--backend is missing: for example --backend 10.0.0.11:80".to_owned()]);
    }
    let text = text(&flags);
    parse_in(&text, "", environment).map(|loaded| loaded.desired).map_err(|errors| {
        let sentence = |d: crate::Diagnostic| match d.hint {
            Some(hint) => format!("{} ({hint})", d.message),
            None => d.message,
        };
        errors.into_iter().map(sentence).collect()
    })
}

fn text(flags: &Flags<'_>) -> String {
    let Flags { listen, backends, interfaces, data_plane } = flags;
    let quoted = |s: &String| toml::Value::String(s.clone()).to_string();
    let list = |items: &[String]| items.iter().map(quoted).collect::<Vec<_>>().join(", ");
    let mut out = format!("[host]\ninterfaces = [{}]\n", list(interfaces));
    // Nobody who names no interface means XDP by an address that no interface brings packets for.
    let local = |l: &String| l.parse::<Listen>().is_ok_and(|l| l.address.is_unspecified() || l.address.is_loopback());
    let usual =
        if interfaces.is_empty() && listen.iter().any(local) { PlaneChoice::Userspace } else { PlaneChoice::Auto };
    let _ = writeln!(out, "data_plane = \"{}\"", crate::export::plane(data_plane.unwrap_or(usual)));
    let each = backends.iter().map(|b| format!("{{ address = {} }}", quoted(b)));
    let _ = writeln!(out, "[[pool]]\nname = \"default\"\nbackends = [{}]", each.collect::<Vec<_>>().join(", "));
    for (i, l) in listen.iter().enumerate() {
        let name = if i == 0 { "default".to_owned() } else { format!("default-{}", i + 1) };
        let _ = writeln!(out, "[[service]]\nname = \"{name}\"\nlisten = {}\npool = \"default\"", quoted(l));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::PlaneChoice;

    fn flags(listen: &[&str], backends: &[&str], interfaces: &[&str]) -> Result<Desired, Vec<String>> {
        let own = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let flags =
            Flags { listen: &own(listen), backends: &own(backends), interfaces: &own(interfaces), data_plane: None };
        from_flags_in(flags, &Environment::default())
    }

    #[test]
    fn one_service_from_flags() {
        let d = flags(&["192.0.2.10:80/tcp"], &["10.0.0.11:80", "10.0.0.12:80"], &["eth0"]).expect("good flags");
        assert_eq!(d.host.interfaces, ["eth0"]);
        assert_eq!(d.host.data_plane, PlaneChoice::Auto);
        assert_eq!(d.services["default"].listen.to_string(), "192.0.2.10:80/tcp");
        assert_eq!(d.pools["default"].backends().len(), 2);
    }

    #[test]
    fn this_host_s_own_addresses_mean_sockets() {
        for listen in ["0.0.0.0:80/tcp", "127.0.0.1:80/tcp", "[::1]:80/tcp"] {
            let backend = if listen.starts_with('[') { "[2001:db8::1]:80" } else { "10.0.0.1:80" };
            assert_eq!(flags(&[listen], &[backend], &[]).expect("good").host.data_plane, PlaneChoice::Userspace);
        }
        assert!(flags(&["0.0.0.0:80/tcp"], &["10.0.0.1:80"], &["eth0"]).is_err());
        let (listen, backends) = (["0.0.0.0:80/tcp".to_owned()], ["10.0.0.1:80".to_owned()]);
        let xdp =
            Flags { listen: &listen, backends: &backends, data_plane: Some(PlaneChoice::Xdp), ..Flags::default() };
        assert!(from_flags_in(xdp, &Environment::default()).is_err());
    }

    #[test]
    fn every_mistake_is_told() {
        let errors = flags(&["192.0.2.10:80", "x:1/tcp"], &["10.0.0.11\"", "nowhere:0"], &["far too long a name"]);
        assert_eq!(errors.expect_err("five mistakes").len(), 5);
        assert!(flags(&["https://192.0.2.10"], &["a:1"], &[]).expect_err("layer 7")[0].contains("not built yet"));
        assert!(flags(&[], &["a:1"], &[]).expect_err("no listen")[0].contains("--listen"));
        assert!(flags(&["192.0.2.10:80/tcp"], &[], &[]).expect_err("no backend")[0].contains("--backend"));
    }
}
