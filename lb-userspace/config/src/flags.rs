//! `lb run --listen … --backend …`: a configuration without a file, through the same door as one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lb_model::{Desired, Listen, PlaneChoice};

use crate::environment::Environment;
use crate::load::parse_in;

/// What was said on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags<'a> {
    /// `192.0.2.10:80/tcp` for layer 4, `https://192.0.2.10` or `http://192.0.2.10:8080` for layer 7.
    pub listen: &'a [String],
    pub backends: &'a [String],
    pub interfaces: &'a [String],
    /// `None`: userspace for this host's own addresses without an interface, else automatic.
    pub data_plane: Option<PlaneChoice>,
    /// For `https://`, PEM; without: the files of [`self_signed_files`].
    pub cert: Option<&'a Path>,
    pub key: Option<&'a Path>,
    /// `None`: the environment's.
    pub state_dir: Option<&'a Path>,
}

/// Certificate and key that an `https://` listener from flags names where no `--cert` is given. Whoever starts the
/// daemon makes them before the state is put in force, if they are not there, and says so.
#[must_use]
pub fn self_signed_files(state_dir: &Path) -> (PathBuf, PathBuf) {
    (state_dir.join("self-signed.pem"), state_dir.join("self-signed.key"))
}

/// One pool, and for each `--listen` a service, or a listener and a route.
///
/// # Errors
/// A sentence for everything that is wrong.
pub fn from_flags(listen: &[String], backends: &[String], interfaces: &[String]) -> Result<Desired, Vec<String>> {
    from_flags_in(Flags { listen, backends, interfaces, ..Flags::default() }, &Environment::of_process())
}

/// The same with everything that may be said, and the defaults of a given environment: a pure function.
///
/// # Errors
/// A sentence for everything that is wrong.
pub fn from_flags_in(flags: Flags<'_>, environment: &Environment) -> Result<Desired, Vec<String>> {
    let Flags { listen, backends, cert, key, .. } = flags;
    let missing = |sentence: &str| Err(vec![sentence.to_owned()]);
    if listen.is_empty() {
        return missing("--listen is missing: for example --listen 192.0.2.10:80/tcp or https://192.0.2.10");
    }
    if backends.is_empty() {
        return missing("--backend is missing: for example --backend 10.0.0.11:80");
    }
    let secure = listen.iter().any(|l| l.starts_with("https://"));
    match (cert, key) {
        (Some(_), None) => return missing("--cert needs --key, the file of its key"),
        (None, Some(_)) => return missing("--key needs --cert, the file of the certificate"),
        (Some(_), Some(_)) if !secure => return missing("--cert is for --listen https://…, and there is none"),
        _ => {}
    }
    let state_dir = flags.state_dir.map_or_else(|| environment.state_dir(), Path::to_path_buf);
    let text = text(&flags, &state_dir)?;
    parse_in(&text, "", environment).map(|loaded| loaded.desired).map_err(|errors| {
        let sentence = |d: crate::Diagnostic| match d.hint {
            Some(hint) => format!("{} ({hint})", d.message),
            None => d.message,
        };
        errors.into_iter().map(sentence).collect()
    })
}

fn quoted(s: &str) -> String {
    toml::Value::String(s.to_owned()).to_string()
}

fn text(flags: &Flags<'_>, state_dir: &Path) -> Result<String, Vec<String>> {
    let Flags { listen, backends, interfaces, data_plane, .. } = flags;
    let list = |items: &[String]| items.iter().map(|i| quoted(i)).collect::<Vec<_>>().join(", ");
    let mut out = format!("[host]\ninterfaces = [{}]\n", list(interfaces));
    // Nobody who names no interface means XDP by an address that no interface brings packets for.
    let local = |l: &String| l.parse::<Listen>().is_ok_and(|l| l.address.is_unspecified() || l.address.is_loopback());
    let usual =
        if interfaces.is_empty() && listen.iter().any(local) { PlaneChoice::Userspace } else { PlaneChoice::Auto };
    let _ = writeln!(out, "data_plane = \"{}\"", crate::export::plane(data_plane.unwrap_or(usual)));
    let _ = writeln!(out, "state_dir = {}", quoted(&state_dir.display().to_string()));
    let each = backends.iter().map(|b| format!("{{ address = {} }}", quoted(b)));
    let _ = writeln!(out, "[[pool]]\nname = \"default\"\nbackends = [{}]", each.collect::<Vec<_>>().join(", "));
    for (i, l) in listen.iter().enumerate() {
        let name = if i == 0 { "default".to_owned() } else { format!("default-{}", i + 1) };
        match l.split_once("://") {
            Some((scheme, rest)) => out += &listener(flags, state_dir, &name, scheme, rest)?,
            None => {
                let _ = writeln!(out, "[[service]]\nname = \"{name}\"\nlisten = {}\npool = \"default\"", quoted(l));
            }
        }
    }
    Ok(out)
}

/// A listener of its own, and a route of everything to the pool.
fn listener(flags: &Flags<'_>, state_dir: &Path, name: &str, scheme: &str, rest: &str) -> Result<String, Vec<String>> {
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(vec![format!("--listen {scheme}://{rest}: the scheme is http or https")]),
    };
    if place.contains(['/', '?', '#', '@']) {
        return Err(vec![format!("--listen {scheme}://{rest}: an address and a port, without a path")]);
    }
    // A bare address, IPv6 in brackets, has the scheme's port.
    let bare = place.strip_prefix('[').map_or_else(|| !place.contains(':'), |p| p.ends_with(']'));
    let listen = if bare { format!("{place}:{usual}") } else { place.to_owned() };
    let mut out = format!("[[listener]]\nname = \"{name}\"\nlisten = {}\n", quoted(&listen));
    if scheme == "https" {
        let (own_cert, own_key) = self_signed_files(state_dir);
        let (cert, key) = (flags.cert.unwrap_or(&own_cert), flags.key.unwrap_or(&own_key));
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let _ = writeln!(out, "[[listener.certificate]]\ncert = {}\nkey = {}", quoted(&cert), quoted(&key));
    }
    let _ = writeln!(out, "[[route]]\nname = \"{name}\"\nlistener = \"{name}\"\npool = \"default\"");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::PlaneChoice;

    fn flags(listen: &[&str], backends: &[&str], interfaces: &[&str]) -> Result<Desired, Vec<String>> {
        let own = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let (listen, backends, interfaces) = (own(listen), own(backends), own(interfaces));
        let flags = Flags { listen: &listen, backends: &backends, interfaces: &interfaces, ..Flags::default() };
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
    fn urls_mean_layer_7() {
        let d = flags(&["https://192.0.2.10", "http://[::1]:8080/"], &["10.0.0.11:80"], &[]).expect("good flags");
        assert_eq!((d.services.len(), d.listeners.len(), d.routes.len(), d.pools.len()), (0, 2, 2, 1));
        let (secure, clear) = (&d.listeners["default"], &d.listeners["default-2"]);
        assert_eq!(
            (secure.listen.to_string(), clear.listen.to_string()),
            ("192.0.2.10:443".into(), "[::1]:8080".into())
        );
        let (cert, key) = self_signed_files(&d.host.state_dir);
        assert_eq!(secure.certificates[0].source, lb_model::http::CertificateSource::Files { cert, key });
        assert!(!clear.is_tls() && clear.protocols.h1 && !clear.protocols.h2);
        assert!(d.routes[1].is_on(&clear.name) && !d.routes[1].is_on(&secure.name));
        assert_eq!(d.host.data_plane, PlaneChoice::Auto);
    }

    #[test]
    fn a_certificate_of_one_s_own() {
        let (listen, backends) = (["https://192.0.2.10:8443".to_owned()], ["10.0.0.1:80".to_owned()]);
        let base = Flags { listen: &listen, backends: &backends, ..Flags::default() };
        let both = Flags { cert: Some(Path::new("c.pem")), key: Some(Path::new("c.key")), ..base };
        let d = from_flags_in(both, &Environment::default()).expect("good");
        let expected = lb_model::http::CertificateSource::Files { cert: "c.pem".into(), key: "c.key".into() };
        assert_eq!(d.listeners["default"].certificates[0].source, expected);
        for half in [Flags { key: None, ..both }, Flags { cert: None, ..both }] {
            assert!(from_flags_in(half, &Environment::default()).is_err());
        }
        let clear = ["http://192.0.2.10".to_owned()];
        assert!(from_flags_in(Flags { listen: &clear, ..both }, &Environment::default()).is_err());
    }

    #[test]
    fn every_mistake_is_told() {
        let errors = flags(&["192.0.2.10:80", "x:1/tcp"], &["10.0.0.11\"", "nowhere:0"], &["far too long a name"]);
        assert_eq!(errors.expect_err("five mistakes").len(), 5);
        for (listen, sentence) in [
            ("ftp://192.0.2.10", "http or https"),
            ("http://192.0.2.10/a", "without a path"),
            ("http://www.example.com", "is not an address"),
            ("https://192.0.2.10:0", "port 0"),
        ] {
            let errors = flags(&[listen], &["10.0.0.1:1"], &[]).expect_err(listen);
            assert!(errors[0].contains(sentence), "{errors:?}");
        }
        assert!(flags(&[], &["a:1"], &[]).expect_err("no listen")[0].contains("--listen"));
        assert!(flags(&["192.0.2.10:80/tcp"], &[], &[]).expect_err("no backend")[0].contains("--backend"));
    }
}
