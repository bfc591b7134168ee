//! One probe on real sockets: within its timeout it succeeds, or says in words why not.

mod grpc;
mod http;
mod tcp;
mod tls;
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
            HealthKind::Http { path, host, expect } => {
                http::probe(target.address, &http::Ask { path, host: host.as_deref(), expect }).await
            }
            HealthKind::Https { path, host, expect, tls } => {
                http::probe_tls(target.address, &http::Ask { path, host: host.as_deref(), expect }, tls).await
            }
            HealthKind::Grpc { service, tls } => grpc::probe(target.address, service, tls.as_ref()).await,
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

/// A failed exchange in an operator's words.
fn exchange_words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|s| s.downcast_ref::<std::io::Error>());
    if let Some(io) = cause {
        words(io)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the connection was closed before an answer".into()
    } else if error.is_parse() {
        "the answer is not HTTP".into()
    } else {
        error.to_string()
    }
}
