//! Asking the DNS, as the host's own resolver configuration says.

use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use lb_model::HostName;

use crate::names::Answer;

/// Answers for host names; tests bring their own.
pub trait Resolve: Debug + Send + Sync {
    fn resolve(&self, name: HostName) -> Pin<Box<dyn Future<Output = Answer> + Send>>;
}

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `/etc/hosts`, then the servers of `/etc/resolv.conf`; read when the first name is asked for.
#[derive(Clone, Debug, Default)]
pub struct System {
    resolver: Arc<tokio::sync::OnceCell<TokioResolver>>,
}

impl System {
    async fn ask(self, name: HostName) -> Answer {
        let resolver = self.resolver.get_or_try_init(|| async { build() }).await?;
        // A final dot: search domains are for people.
        let fqdn = if name.as_str().contains('.') { format!("{}.", name.as_str()) } else { name.as_str().to_owned() };
        let looked = tokio::time::timeout(PATIENCE, resolver.lookup_ip(fqdn.as_str())).await;
        let found = looked.map_err(|_| format!("no answer after {PATIENCE:?}"))?.map_err(|e| e.to_string())?;
        let ttl = found.valid_until().saturating_duration_since(tokio::time::Instant::now().into_std());
        Ok((found.iter().collect::<Vec<IpAddr>>(), ttl))
    }
}

fn build() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|e| e.to_string())?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| e.to_string())
}

impl Resolve for System {
    fn resolve(&self, name: HostName) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        Box::pin(self.clone().ask(name))
    }
}
