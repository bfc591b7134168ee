//! New flows at a steady rate, each with its time, its backend and how it ended: open loop, so a slow answer delays nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::lines::Talk;
use crate::clock;
use crate::lab::Host;
use crate::lab::addresses::{Family, flow_source};

const TICK: Duration = Duration::from_millis(5);
/// Long enough for a SYN sent again after 1 s and after 3 s.
const BOUND: Duration = Duration::from_secs(5);

/// One new connection.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub from: SocketAddr,
    pub began: Instant,
    pub took: Duration,
    /// The backend's name, or what went wrong.
    pub outcome: Result<String, String>,
}

/// A generator at work; [`Steady::stop`] ends it.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Attempt>>>>,
}

impl Steady {
    /// Opens `rate` TCP connections a second from `host`, each asking once who serves it.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(host: &Host, to: SocketAddr, rate: u32, first: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = host.start(move || super::runtime()?.block_on(generate(to, rate, first, &told)))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Opens no more, waits for those under way and gives all of them, by the time they began.
    ///
    /// # Errors
    /// If the generator failed as a whole.
    pub fn stop(mut self) -> Result<Vec<Attempt>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        let mut all = thread.join().map_err(|_| anyhow::anyhow!("the generator panicked"))??;
        all.sort_by_key(|a| a.began);
        Ok(all)
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn generate(to: SocketAddr, rate: u32, first: u32, stop: &AtomicBool) -> Result<Vec<Attempt>> {
    let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
    let start = clock::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    let mut out = Vec::new();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        // What is due by now, so that a late tick is made good.
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        for n in opened..due {
            under_way.spawn(attempt(flow_source(first + n, family), to));
        }
        opened = opened.max(due);
        while let Some(done) = under_way.try_join_next() {
            out.push(done?);
        }
    }
    while let Some(done) = under_way.join_next().await {
        out.push(done?);
    }
    Ok(out)
}

async fn attempt(from: SocketAddr, to: SocketAddr) -> Attempt {
    let began = clock::now();
    let ask = async {
        let mut talk = Talk::open(from, to, BOUND).await?;
        let (name, _) = talk.who().await?;
        talk.reset()?;
        anyhow::Ok(name)
    };
    let outcome = match tokio::time::timeout(BOUND, ask).await {
        Ok(Ok(name)) => Ok(name),
        Ok(Err(e)) => Err(format!("{e:#}")),
        Err(_) => Err(format!("{from} -> {to}: no answer within {BOUND:?}")),
    };
    Attempt { from, began, took: began.elapsed(), outcome }
}
