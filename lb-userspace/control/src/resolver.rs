//! Asking the DNS, as the host's own resolver configuration says.

use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use lb_model::HostName;

use crate::names::Answer;

/// Answers for host names; tests bring their own.
pub trait Resolve: Debug + Send + Sync {
    fn resolve(&self, name: HostName) -> Pin<Box<dyn Future<Output = Answer> + Send>>;
}

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `/etc/hosts`, then the servers (and search domains) of `/etc/resolv.conf`. Both are read for each question, so that a
/// change of either is seen by a process that lives for months; names are asked for again on their TTL, so nothing is
/// gained by a cache here.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

async fn ask(name: HostName) -> Answer {
    let resolver = build()?;
    let looked = tokio::time::timeout(PATIENCE, resolver.lookup_ip(name.as_str())).await;
    let found = looked.map_err(|_| format!("no answer after {PATIENCE:?}"))?.map_err(|e| words(&e))?;
    let ttl = found.valid_until().saturating_duration_since(tokio::time::Instant::now().into_std());
    Ok((found.iter().collect::<Vec<IpAddr>>(), ttl))
}

fn words(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else if error.is_no_records_found() {
        "the name has no address".to_owned()
    } else {
        error.to_string()
    }
}

fn build() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|e| e.to_string())?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| e.to_string())
}

impl Resolve for System {
    fn resolve(&self, name: HostName) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        Box::pin(ask(name))
    }
}
