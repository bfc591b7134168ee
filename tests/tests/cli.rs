//! The command line on a balancer in the lab: what it shows of live traffic is what the wires show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::daemon::{Daemon, Engine};
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::pulse::Pulse;
use lb_tests::load::server::{Ports, Server};
use lb_tests::load::spread::{Flows, Protocol, spread};
use serde_json::Value;

const PORT: u16 = 7000;

fn vip() -> SocketAddr {
    SocketAddr::new(addresses::vip(10, Family::V4), 80)
}

fn backend(index: usize) -> String {
    SocketAddr::new(addresses::backend(index, Family::V4), PORT).to_string()
}

fn started(engine: Engine) -> Result<(Daemon, Vec<Server>, Lab)> {
    let lab = Lab::new(Topology::OneArmed, 3)?;
    let ports = Ports { lines: vec![PORT], http: Vec::new(), udp: vec![PORT] };
    let servers = lab.backends().iter().map(|b| Server::start(b, &ports)).collect::<Result<Vec<_>>>()?;
    let list: Vec<String> = (0..3).map(|i| format!("{{ address = \"{}\" }}", backend(i))).collect();
    let service =
        |name: &str| format!("[[service]]\nname = \"{name}\"\nlisten = \"{}/{name}\"\npool = \"web\"\n", vip());
    let text = format!(
        "[[pool]]\nname = \"web\"\nbackends = [{}]\n[pool.health]\ntype = \"tcp\"\ninterval = \"300ms\"\nrise = 1\n{}{}",
        list.join(", "),
        service("tcp"),
        service("udp")
    );
    let daemon = Daemon::start(&lab, engine, &text)?;
    daemon.all_healthy()?;
    Ok((daemon, servers, lab))
}

/// Every key of the contract, and no other type than it says.
fn has(value: &Value, texts: &[&str], numbers: &[&str]) -> Result<()> {
    for key in texts {
        ensure!(value[key].is_string(), "'{key}' is no text in {value}");
    }
    for key in numbers {
        ensure!(value[key].is_number(), "'{key}' is no number in {value}");
    }
    Ok(())
}

fn status(engine: Engine) -> Result<()> {
    let (daemon, _servers, lab) = started(engine)?;
    let count = 300;
    let tcp = spread(lab.client(), Flows::new(vip(), Protocol::Tcp, 0, count))?;
    ensure!(tcp.failed == 0, "{:?}", tcp.failures);

    let status = daemon.json(&["status"])?;
    has(&status, &["version", "data_plane", "data_plane_reason"], &["uptime_seconds"])?;
    ensure!(status["data_plane"] == engine.as_str(), "{status}");
    for list in ["interfaces", "services", "pools"] {
        ensure!(status[list].is_array(), "'{list}' is no array in {status}");
    }
    ensure!(status["dropped"].is_object(), "{status}");
    ensure!(!daemon.ok(&["status"])?.trim().is_empty());

    let services = daemon.json(&["service", "list"])?;
    let tcp_service = services.as_array().and_then(|a| a.iter().find(|s| s["name"] == "tcp")).context("no service")?;
    has(
        tcp_service,
        &["name", "listen", "pool", "forward", "algorithm"],
        &["active_flows", "flows_total", "packets", "bytes"],
    )?;
    ensure!(tcp_service["flows_total"] == count, "{tcp_service}");

    let by_backend = tcp.by_backend();
    for i in 0..3 {
        let entry = daemon.backend("web", &backend(i))?;
        has(
            &entry,
            &["pool", "address", "state", "health"],
            &["weight", "active_flows", "flows_total", "packets", "bytes"],
        )?;
        let want = by_backend.get(&format!("b{i}")).copied().unwrap_or(0);
        ensure!(entry["flows_total"] == want, "{want} flows were answered by b{i}: {entry}");
    }
    Ok(())
}

#[test]
fn xdp_status_and_lists_count_what_was_sent() -> Result<()> {
    status(Engine::Xdp)
}

#[test]
fn xdp_generic_status_and_lists_count_what_was_sent() -> Result<()> {
    status(Engine::XdpGeneric)
}

#[test]
fn userspace_status_and_lists_count_what_was_sent() -> Result<()> {
    status(Engine::Userspace)
}

fn flows(engine: Engine) -> Result<()> {
    let (daemon, _servers, lab) = started(engine)?;
    let names: BTreeMap<String, String> = (0..3).map(|i| (backend(i), format!("b{i}"))).collect();
    for (protocol, first) in [(Protocol::Tcp, 0), (Protocol::Udp, 100)] {
        let pulse = Pulse::start(lab.client(), vip(), protocol, first, 12, Duration::from_millis(50))?;
        let all = daemon.json(&["flows", "--service", protocol.as_str()])?;
        let all = all.as_array().context("no array")?;
        for (from, name) in pulse.placed() {
            let flow = all.iter().find(|f| f["client"] == from.to_string());
            let flow = flow.with_context(|| format!("the flow of {from} is not shown"))?;
            has(
                flow,
                &["service", "protocol", "client", "vip", "backend", "state"],
                &["age_seconds", "idle_seconds", "packets", "bytes"],
            )?;
            let shown = flow["backend"].as_str().and_then(|b| names.get(b));
            ensure!(shown == Some(name), "{name} answers, shown is {flow}");
            ensure!(flow["vip"] == vip().to_string() && flow["protocol"] == protocol.as_str(), "{flow}");
            ensure!(flow["service"] == protocol.as_str() && flow["state"] == "established", "{flow}");
        }
        ensure!(all.iter().all(|f| f["service"] == protocol.as_str()), "flows of another service are shown");
        for beat in pulse.stop()? {
            ensure!(beat.failure.is_none(), "{beat:?}");
        }
    }
    Ok(())
}

#[test]
fn xdp_flows_show_who_serves_whom() -> Result<()> {
    flows(Engine::Xdp)
}

#[test]
fn userspace_flows_show_who_serves_whom() -> Result<()> {
    flows(Engine::Userspace)
}

/// What `explain` foretells is what happens, and asking changes nothing.
fn explain(engine: Engine) -> Result<()> {
    let (daemon, _servers, lab) = started(engine)?;
    let mut foretold = BTreeMap::new();
    let (first, count) = (500, 30);
    for n in first..first + count {
        let from = addresses::flow_source(n, Family::V4);
        let (from_text, to) = (from.to_string(), format!("{}/tcp", vip()));
        let said = daemon.json(&["explain", "--from", &from_text, "--to", &to])?;
        ensure!(said["verdict"] == "forward" && said["service"] == "tcp" && said["pool"] == "web", "{said}");
        let steps = said["steps"].as_array().context("no steps")?;
        ensure!(steps.len() > 1, "{said}");
        steps.iter().try_for_each(|s| has(s, &["stage", "decision", "why"], &[]))?;
        foretold.insert(from, said["backend"].as_str().context("no backend")?.to_owned());
    }
    let before = daemon.json(&["service", "list"])?[0]["flows_total"].clone();
    ensure!(before == 0, "asking opened flows: {before}");
    let outcome = spread(lab.client(), Flows::new(vip(), Protocol::Tcp, first, count))?;
    ensure!(outcome.failed == 0, "{:?}", outcome.failures);
    for (from, name) in outcome.placed {
        let index: usize = name.trim_start_matches('b').parse()?;
        ensure!(foretold.get(&from) == Some(&backend(index)), "{from}: {name} answered, {foretold:?}");
    }
    let stranger = daemon.json(&["explain", "--from", "10.78.0.1:1000", "--to", "198.51.100.1:80/tcp"])?;
    ensure!(stranger["verdict"] == "pass", "{stranger}");
    Ok(())
}

#[test]
fn xdp_explain_foretells_what_happens() -> Result<()> {
    explain(Engine::Xdp)
}

#[test]
fn userspace_explain_foretells_what_happens() -> Result<()> {
    explain(Engine::Userspace)
}

/// Exit 2 and the nearest name for what does not exist; 1 and the place where it looked without a daemon.
#[test]
fn xdp_mistakes_are_named() -> Result<()> {
    let (mut daemon, _servers, _lab) = started(Engine::Xdp)?;
    for args in [
        &["backend", "drain", "wob", &backend(0)][..],
        &["backend", "drain", "web", "10.77.0.99:7000"],
        &["service", "show", "tpc"],
        &["flows", "--service", "tpc"],
    ] {
        let output = daemon.cli(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && !said.is_empty(), "lb {args:?}: {} {said}", output.status);
    }
    let said = String::from_utf8_lossy(&daemon.cli(&["service", "show", "tpc"])?.stderr).into_owned();
    ensure!(said.contains("tcp") || said.contains("udp"), "names no near name: {said}");

    let second = daemon.cli(&["run", "--config", daemon.config().to_str().context("a path that is no text")?])?;
    ensure!(second.status.code() == Some(1), "a second run: {}", second.status);
    daemon.kill()?;
    let alone = daemon.cli(&["status"])?;
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    ensure!(alone.status.code() == Some(1) && said.contains("lb.sock"), "{} {said}", alone.status);
    Ok(())
}
