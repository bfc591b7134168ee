//! `lb cache`: what is stored, and forgetting it.

use clap::{Args, Subcommand};
use lb_api::wire::{CacheStatsDoc, PurgeDoc, PurgedDoc};

use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print::units;
use crate::{daemon, print};

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Show how much is stored, and how often it served
    Stats,
    /// Forget stored responses
    Purge(What),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["key", "prefix", "tag"]))]
pub(crate) struct What {
    /// The response to this URL, as clients write it
    #[arg(long, value_name = "URL")]
    key: Option<String>,
    /// Every response whose URL begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Every response with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

pub(crate) fn cache(args: &Cache, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        match args {
            Cache::Stats => {
                let stats: CacheStatsDoc = daemon.get("/v1/cache").await?;
                print::either(global.json, &stats, render)
            }
            Cache::Purge(what) => {
                let request = match (&what.key, &what.prefix, &what.tag) {
                    (Some(url), None, None) => PurgeDoc::Key(url.clone()),
                    (None, Some(url), None) => PurgeDoc::Prefix(url.clone()),
                    (None, None, Some(tag)) => PurgeDoc::Tag(tag.clone()),
                    _ => return Err(Failure::wrong("exactly one of --key, --prefix and --tag is needed")),
                };
                let purged: PurgedDoc = daemon.post("/v1/cache/purge", &request).await?;
                print::either(global.json, &purged, |p| match p.purged {
                    1 => "1 response purged\n".to_owned(),
                    n => format!("{} responses purged\n", units::count(n)),
                })
            }
        }
    })
}

fn render(s: &CacheStatsDoc) -> String {
    let asked = s.hits + s.misses;
    let share = if asked == 0 { 0.0 } else { s.hits as f64 * 100.0 / asked as f64 };
    format!(
        "hits     {} ({share:.1} %)\nmisses   {}\nstored   {}\nevicted  {}\nentries  {}\nbytes    {}\n",
        units::count(s.hits),
        units::count(s.misses),
        units::count(s.stored),
        units::count(s.evicted),
        units::count(s.entries),
        units::bytes(s.bytes)
    )
}
