//! The play, for one engine: spread, kill, drain, return; and what is claimed of each.

use std::time::Duration;

use anyhow::Result;
use lb_tests::clock;

use crate::claims::Claims;
use crate::picture::{self, Summary, paint};
use crate::stage::{self, FALL, INTERVAL_MS, Stage, TIMEOUT_MS, UDP, WEB};
use crate::timeline;
use crate::traffic::{self, Kind, Sample, Traffic};

/// How long an act's traffic is watched.
const ACT: Duration = Duration::from_secs(4);
/// What the machine's own scheduling may add to a promised time.
const MARGIN: Duration = Duration::from_millis(500);
const KILLED: usize = 2;
const DRAINED: usize = 1;

/// Interval × fall + timeout: by then a dead backend is known to be dead.
const fn detection() -> Duration {
    Duration::from_millis(INTERVAL_MS * FALL + TIMEOUT_MS)
}

struct Play {
    stage: Stage,
    traffic: Traffic,
    claims: Claims,
    marks: Vec<(Duration, char, &'static str)>,
}

pub(crate) fn play(engine: &str) -> Result<Summary> {
    picture::title(&format!("━━ engine: {engine} ━━"));
    println!("A client, a balancer with two interfaces, three HTTP backends (weights 3:2:1) and a UDP one:");
    let stage = Stage::build(engine)?;
    clock::until("the three are seen healthy", Duration::from_secs(10), || {
        let list = stage.lb.json(&["backend", "list"])?;
        let healthy = list.as_array().into_iter().flatten().filter(|b| b["health"] == "healthy").count();
        Ok((healthy == WEB.len()).then_some(()))
    })?;
    print!("{}", indented(&stage.lb.text(&["status"])?));
    let traffic = Traffic::start(stage.lab.client(), stage::web(), stage::names())?;
    let mut play = Play { stage, traffic, claims: Claims::default(), marks: Vec::new() };
    let status = play.stage.lb.json(&["status"])?;
    play.claims.that(status["data_plane"] == engine, &format!("lb runs on the {engine} data plane"));
    play.spread("New connections, spread by weight", 'a', "all three serve")?;
    let killed = play.kill()?;
    play.drain()?;
    play.back()?;
    play.end(engine, killed)
}

impl Play {
    fn mark(&mut self, letter: char, what: &'static str) -> Duration {
        let now = self.traffic.now();
        self.marks.push((now, letter, what));
        now
    }

    /// Answers of new connections sent in `from..to`, by backend.
    fn counts(&self, from: Duration, to: Duration) -> [usize; WEB.len()] {
        let samples = self.traffic.samples();
        WEB.map(|(name, _)| new_between(&samples, from, to).filter(|s| answered(s, name)).count())
    }

    fn spread(&mut self, title: &str, letter: char, what: &'static str) -> Result<()> {
        picture::title(title);
        let from = self.mark(letter, what);
        clock::pass(ACT);
        let counts = self.counts(from, self.traffic.now() - Duration::from_millis(300));
        let promised = WEB.map(|(_, w)| f64::from(w) / f64::from(WEB.iter().map(|(_, w)| w).sum::<u32>()));
        picture::bars(&[0, 1, 2].map(|i| (WEB[i].0, counts[i], Some(promised[i]))));
        let sum: usize = counts.iter().sum();
        let near = |i: usize| (counts[i] as f64 / sum as f64 / promised[i] - 1.0).abs() <= 0.05;
        // Far below the intended rate the machine was too busy for shares to mean anything.
        let enough = sum as u128 >= u128::from(traffic::CONNECTIONS) * ACT.as_millis() / 1000 / 8;
        self.claims.that(enough, &format!("{sum} connections were answered by way of {}", stage::web()));
        self.claims.that((0..3).all(near), "each backend's share is within 5 % of its weight");
        Ok(())
    }

    /// Gives when the kill's detection window opened and closed.
    fn kill(&mut self) -> Result<(Duration, Duration)> {
        picture::title(&format!("{} is killed (SIGKILL) under load", WEB[KILLED].0));
        let at = self.mark('k', "kill");
        self.stage.kill(KILLED)?;
        let address = stage::address(KILLED).to_string();
        let lb = &self.stage.lb;
        clock::until("the killed backend is shown unhealthy", Duration::from_secs(10), || {
            Ok((lb.backend(&address)?["health"] == "unhealthy").then_some(()))
        })?;
        let seen = self.traffic.now() - at;
        let bound = detection() + MARGIN;
        println!(
            "  health checks saw it after {} ms (interval × fall + timeout = {} ms)",
            seen.as_millis(),
            detection().as_millis()
        );
        self.claims
            .that(seen <= bound, &format!("it was seen dead within that and {} ms of margin", MARGIN.as_millis()));
        clock::pass(ACT.saturating_sub(seen));
        let counts = self.counts(at + bound, self.traffic.now());
        picture::bars(&[0, 1, 2].map(|i| (WEB[i].0, counts[i], None)));
        self.claims.that(counts[KILLED] == 0 && counts[0] > 0, "new connections go to the two that live");
        Ok((at, at + bound))
    }

    fn drain(&mut self) -> Result<()> {
        let (name, address) = (WEB[DRAINED].0, stage::address(DRAINED).to_string());
        picture::title(&format!("{name} is drained under load: lb backend drain web {address} --timeout 30s --wait"));
        let at = self.mark('d', "drain");
        let mut waiting = self.stage.lb.begin(&["backend", "drain", "web", &address, "--timeout", "30s", "--wait"])?;
        clock::pass(ACT / 2);
        let before = self.stage.lb.backend(&address)?;
        println!("  {name} is {}, with {} connections still open", text(&before["state"]), before["active_flows"]);
        self.claims.that(before["state"] == "draining", "it keeps the connections it has");
        self.traffic.end_kept(name);
        self.mark('e', "its last clients leave");
        let status = clock::until("drain --wait ends", Duration::from_secs(15), || Ok(waiting.try_wait()?));
        if status.is_err() {
            let _ = waiting.kill();
        }
        self.claims.that(status.is_ok_and(|s| s.success()), "drain --wait ended by itself when they had left");
        self.claims.that(self.stage.lb.backend(&address)?["state"] == "drained", "lb backend list shows it drained");
        clock::pass(ACT / 4);
        let counts = self.counts(at + MARGIN, self.traffic.now());
        picture::bars(&[0, 1, 2].map(|i| (WEB[i].0, counts[i], None)));
        self.claims.that(counts[DRAINED] == 0 && counts[0] > 0, "no new connection went to it meanwhile");
        Ok(())
    }

    fn back(&mut self) -> Result<()> {
        let address = stage::address(KILLED).to_string();
        self.stage.revive(KILLED)?;
        self.stage.lb.text(&["backend", "undrain", "web", &stage::address(DRAINED).to_string()])?;
        let lb = &self.stage.lb;
        clock::until("the revived backend is healthy", Duration::from_secs(10), || {
            Ok((lb.backend(&address)?["health"] == "healthy").then_some(()))
        })?;
        clock::pass(Duration::from_millis(300));
        self.spread("One is started again, the other undrained", 'r', "both return")
    }

    fn end(self, engine: &str, window: (Duration, Duration)) -> Result<Summary> {
        let Self { mut stage, traffic, mut claims, marks } = self;
        picture::title("The whole run: new connections answered, over time");
        let samples = traffic.stop()?;
        timeline::draw(&samples, &WEB.map(|(name, _)| name), &marks);
        let datagrams: Vec<&Sample> = samples.iter().filter(|s| s.kind == Kind::Datagram).collect();
        let echoed = datagrams.iter().filter(|s| answered(s, UDP)).count();
        let (within, outside) = failures(&samples, window);
        println!("  {within} requests failed in the kill's detection window");
        for f in outside.iter().take(5) {
            println!("    {}", paint("31", f));
        }
        claims.that(outside.is_empty(), "none failed but those to the killed backend before it was seen dead");
        claims.that(
            echoed == datagrams.len() && echoed > 0,
            &format!("{echoed} of {} datagrams were answered by {UDP}", datagrams.len()),
        );
        let services = stage.lb.json(&["service", "list"])?;
        let sum = |key: &str| services.as_array().into_iter().flatten().filter_map(|s| s[key].as_u64()).sum();
        let (packets, bytes, flows): (u64, u64, u64) = (sum("packets"), sum("bytes"), sum("flows_total"));
        print!("{}", indented(&stage.lb.text(&["service", "list"])?));
        claims.that(
            flows as usize >= samples.iter().filter(|s| s.kind != Kind::Kept).count(),
            &format!("the data plane counted {flows} flows and {packets} packets"),
        );
        stage.lb.stop()?;
        let links = stage.lab.balancer().run("ip", &["-details", "link", "show"])?;
        claims.that(!links.contains("xdp"), "lb run ended on SIGTERM with 0, and left nothing on the interfaces");
        Ok(Summary {
            engine: engine.to_owned(),
            requests: samples.len(),
            in_window: within,
            outside: outside.len(),
            packets,
            bytes,
            broken: claims.broken,
        })
    }
}

fn answered(s: &Sample, by: &str) -> bool {
    s.outcome.as_deref().is_ok_and(|b| b == by)
}

fn new_between(samples: &[Sample], from: Duration, to: Duration) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |s| s.kind == Kind::New && (from..to).contains(&s.at))
}

/// How many requests failed as the kill allows (sent in its window, and not on another backend's connection), and the
/// others in words.
fn failures(samples: &[Sample], window: (Duration, Duration)) -> (usize, Vec<String>) {
    let mut within = 0;
    let mut outside = Vec::new();
    for s in samples {
        let Err(failure) = &s.outcome else { continue };
        let excused = s.kind != Kind::Datagram
            && (window.0.saturating_sub(MARGIN)..window.1).contains(&s.at)
            && failure.backend.as_deref().is_none_or(|b| b == WEB[KILLED].0);
        if excused {
            within += 1;
        } else {
            let by = failure.backend.as_deref().unwrap_or("?");
            outside.push(format!("{:?} at {:.2} s, backend {by}: {}", s.kind, s.at.as_secs_f64(), failure.why));
        }
    }
    (within, outside)
}

fn text(v: &serde_json::Value) -> &str {
    v.as_str().unwrap_or("?")
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, l| all + "  │ " + l + "\n")
}
