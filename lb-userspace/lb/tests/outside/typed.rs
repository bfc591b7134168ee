//! What is typed, without a daemon: exit statuses, refusals by name, checks of files.

use crate::support::{Place, text};

#[test]
fn without_a_daemon_it_is_1_and_says_where_it_looked() {
    let place = Place::new();
    for args in [
        &["status"][..],
        &["reload"],
        &["backend", "list"],
        &["flows"],
        &["service", "list"],
        &["export"],
        &["route", "list"],
        &["cert", "list"],
        &["cache", "stats"],
        &["tap", "--route", "x"],
        &["explain", "--request", "GET https://a.test/"],
    ] {
        let (code, said) = place.refusal(args);
        assert!(code == 1 && said.contains(place.socket().to_str().expect("UTF-8")), "{args:?}: {code} {said}");
    }
    let elsewhere = place.path().join("elsewhere.sock");
    let (code, said) = place.refusal(&["status", "--socket", elsewhere.to_str().expect("UTF-8")]);
    assert!(code == 1 && said.contains("elsewhere.sock"), "{said}");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let place = Place::new();
    for args in [
        &["consumer", "key", "rotate", "acme"][..],
        &["analytics", "top"],
        &["decap", "--interface", "eth0"],
        &["watch", "drops"],
        &["capture", "-w", "x.pcap"],
    ] {
        let (code, said) = place.refusal(args);
        assert!(code == 2 && said.contains("not built yet"), "{args:?}: {code} {said}");
    }
}

#[test]
fn a_file_with_errors() {
    let place = Place::new();
    let file = place.file(
        "bad.toml",
        "[host]\ndata_plan = \"auto\"\n[[service]]\nname = \"x\"\nlisten = \"1.2.3.4:80\"\npool = \"p\"\n",
    );
    let file = file.to_str().expect("UTF-8");
    let (code, said) = place.refusal(&["check", "--config", file]);
    assert_eq!(code, 2);
    assert!(said.contains("bad.toml:2:1") && said.contains("data_plane"), "{said}");
    assert!(said.contains("bad.toml:5:10"), "all errors at once: {said}");
    let out = place.lb(&["check", "--json", "--config", file]);
    assert_eq!(out.status.code(), Some(2));
    let errors: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON document");
    assert_eq!((&errors[0]["line"], &errors[0]["column"]), (&2.into(), &1.into()), "{errors}");
    let mut keys: Vec<_> = errors[0].as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["column", "file", "hint", "line", "message"]);
    // A daemon does not start from it, and a plan needs no daemon to say so.
    assert_eq!(place.refusal(&["run", "--config", file]).0, 2);
    assert_eq!(place.refusal(&["plan", "--config", file]).0, 2);
    assert_eq!(place.refusal(&["run", "--listen", "1.2.3.4:80", "--backend", "10.0.0.1:80"]).0, 2);
    assert_eq!(place.refusal(&["run"]).0, 2);
}

#[test]
fn a_good_file_is_0() {
    let place = Place::new();
    let file = place.file(
        "good.toml",
        "[[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1:80\" }]\n\
         [[service]]\nname = \"s\"\nlisten = \"192.0.2.1:80/tcp\"\npool = \"p\"\n",
    );
    let file = file.to_str().expect("UTF-8");
    let out = place.lb(&["check", "--config", file]);
    assert!(out.status.success() && text(&out.stdout).contains("valid"), "{}", text(&out.stderr));
    assert_eq!(place.json(&["check", "--config", file]), serde_json::json!([]));
}

#[test]
fn help_man_completions_doctor() {
    let place = Place::new();
    let shown = |args: &[&str]| {
        let out = place.lb(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let help = shown(&["--help"]);
    for command in [
        "run", "check", "plan", "reload", "status", "top", "service", "backend", "flows", "explain", "detach",
        "doctor", "route", "cache", "cert", "tap",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{command} in {help}");
    }
    assert!(shown(&["man"]).starts_with(".ie") || shown(&["man"]).contains(".TH lb"), "roff");
    for shell in ["bash", "zsh", "fish"] {
        assert!(shown(&["completions", shell]).contains("backend"), "{shell}");
    }
    assert!(shown(&["doctor"]).contains("kernel"));
    let findings = place.json(&["doctor"]);
    let what = |f: &serde_json::Value| f["what"] == "kernel" && f["grade"] == "good" || f["grade"] == "limited";
    assert!(findings.as_array().is_some_and(|all| all.iter().any(what)), "{findings}");
    assert_eq!(shown(&["--version"]).trim(), format!("lb {}", env!("CARGO_PKG_VERSION")));
}
