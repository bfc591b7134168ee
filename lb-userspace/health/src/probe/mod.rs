//! One probe on real sockets: within its timeout it succeeds, or says in words why not.

mod http;
mod tcp;
mod udp;

use std::io::{self, ErrorKind};

use lb_model::HealthKind;

use crate::{Outcome, Target};

/// Probes the target once. Never longer than the check's timeout.
///
/// # Errors
/// Why the target did not pass, in words for an operator.
pub async fn run(target: &Target) -> Outcome {
    let probe = async {
        match &target.check.kind {
            HealthKind::Tcp => tcp::probe(target.address).await,
            HealthKind::Http { path, host, expect } => http::probe(target.address, path, host.as_deref(), expect).await,
            HealthKind::Https { .. } | HealthKind::Grpc { .. } => Err("not built".into()),
            HealthKind::Udp { send, expect } => udp::probe(target.address, send, expect.as_deref()).await,
        }
    };
    let timeout = target.check.timeout;
    match tokio::time::timeout(timeout, probe).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("timed out after {timeout:?}")),
    }
}

/// An I/O error in an operator's words, without the number.
fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset".into(),
        ErrorKind::HostUnreachable => "host unreachable".into(),
        ErrorKind::NetworkUnreachable => "network unreachable".into(),
        ErrorKind::TimedOut => "the connection timed out".into(),
        ErrorKind::UnexpectedEof => "the connection was closed".into(),
        _ => {
            let text = error.to_string();
            match text.find(" (os error") {
                Some(at) => text[..at].to_owned(),
                None => text,
            }
        }
    }
}
