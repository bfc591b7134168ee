//! `lb top`: the status, live in the terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use lb_api::Client;
use lb_api::wire::StatusDoc;

use super::status;
use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::{daemon, print};

mod rate;
mod screen;

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How often to look, e.g. 500ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = lb_config::parse_duration(text)?;
    if interval < Duration::from_millis(100) { Err("at least 100ms".to_owned()) } else { Ok(interval) }
}

pub(crate) fn top(args: &Top, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let first: StatusDoc = daemon.get("/v1/status").await?;
        let live = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if global.json || !live {
            return print::either(global.json, &first, status::render);
        }
        let mut terminal = ratatui::init();
        let ended = show(&daemon, &mut terminal, first, args.interval).await;
        ratatui::restore();
        ended
    })
}

async fn show(
    daemon: &Client,
    terminal: &mut ratatui::DefaultTerminal,
    first: StatusDoc,
    interval: Duration,
) -> Outcome {
    let mut keys = keys();
    let mut screen = screen::Screen::new(first);
    let mut ticks = tokio::time::interval(interval);
    ticks.tick().await;
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(Failure::refused)?;
        tokio::select! {
            at = ticks.tick() => match daemon.get::<StatusDoc>("/v1/status").await {
                Ok(next) => screen.update(next, at.into_std()),
                Err(error) => screen.lost(error.to_string()),
            },
            key = keys.recv() => match key {
                Some(key) => if screen.key(key) { return Ok(()) },
                None => return Ok(()),
            },
        }
    }
}

/// Reading keys blocks, so it has a thread of its own, which ends with the process.
fn keys() -> tokio::sync::mpsc::Receiver<crossterm::event::Event> {
    let (send, receive) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if send.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receive
}
