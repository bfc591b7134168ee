//! Structured logs on standard error: lines for people, or JSON (`LB_LOG_FORMAT=json`), filtered by `LB_LOG`.
//!
//! Events carry what they are about as fields, `service`, `pool` and `backend`, so that a filter finds them in either form.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

pub const FILTER_VARIABLE: &str = "LB_LOG";
pub const FORMAT_VARIABLE: &str = "LB_LOG_FORMAT";

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    #[error("LB_LOG_FORMAT is '{0}'; it may be 'human' or 'json'")]
    Format(String),
    #[error("LB_LOG is no filter such as 'info' or 'lb_health=debug,info': {0}")]
    Filter(String),
    #[error("logs are set up already: {0}")]
    Twice(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Human,
    Json,
}

fn format(given: Option<&str>) -> Result<Format, LogError> {
    match given.unwrap_or("human") {
        "" | "human" => Ok(Format::Human),
        "json" => Ok(Format::Json),
        other => Err(LogError::Format(other.to_owned())),
    }
}

fn filter(given: Option<&str>) -> Result<EnvFilter, LogError> {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    builder.parse(given.unwrap_or_default()).map_err(|e| LogError::Filter(e.to_string()))
}

/// Sets up logging for the process, from its environment; `json` asks for JSON whatever the environment says.
///
/// # Errors
/// [`LogError`] if a variable makes no sense.
pub fn init(json: bool) -> Result<(), LogError> {
    let variable = |name| std::env::var(name).ok();
    let format = if json { Format::Json } else { format(variable(FORMAT_VARIABLE).as_deref())? };
    let filter = filter(variable(FILTER_VARIABLE).as_deref())?;
    let subscriber = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        Format::Json => subscriber.json().flatten_event(true).with_current_span(true).finish().try_init(),
        Format::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let subscriber = subscriber.with_ansi(colour).with_target(false);
            if std::env::var_os("JOURNAL_STREAM").is_some() {
                // The journal stamps every line itself.
                subscriber.without_time().finish().try_init()
            } else {
                subscriber.finish().try_init()
            }
        }
    };
    done.map_err(|e| LogError::Twice(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_checked() {
        assert_eq!(format(None), Ok(Format::Human));
        assert_eq!(format(Some("json")), Ok(Format::Json));
        assert_eq!(format(Some("xml")), Err(LogError::Format("xml".into())));
        assert!(filter(Some("lb_health=debug,info")).is_ok());
        assert!(matches!(filter(Some("lb=loudly")), Err(LogError::Filter(_))));
    }
}
