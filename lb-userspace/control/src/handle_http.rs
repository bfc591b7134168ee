//! The door to the control plane, layer 7's part: explanations, certificates, the cache, live requests.

use lb_gateway::{CacheStats, CertificateView, ExplainRequest, Gateway, HttpExplanation, Purge, Tap, TapOptions};
use lb_model::Name;

use crate::commands::unknown;
use crate::core::Core;
use crate::error::CommandError;
use crate::handle::{Handle, Reply, Request, refused};

/// What the control task is asked about layer 7.
#[derive(Debug)]
pub(crate) enum HttpRequest {
    Explain(Box<ExplainRequest>, Reply<Result<HttpExplanation, CommandError>>),
    Certificates(Reply<Vec<CertificateView>>),
    CacheStats(Reply<CacheStats>),
    Purge(Option<Purge>, Reply<u64>),
    Tap(TapOptions, Reply<Result<Tap, CommandError>>),
}

impl Handle {
    async fn ask_http<T>(&self, make: impl FnOnce(Reply<T>) -> HttpRequest) -> Option<T> {
        self.ask(|reply| Request::Http(make(reply))).await
    }

    /// What would become of a request, and why. Sends nothing, and changes no counter and no turn.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] if the URL is none or no listener is told by it, [`CommandError::Unknown`] for a
    /// listener that is not there.
    pub async fn explain_request(&self, request: ExplainRequest) -> Result<HttpExplanation, CommandError> {
        self.ask_http(|reply| HttpRequest::Explain(Box::new(request), reply)).await.unwrap_or_else(refused)
    }

    /// Certificates in use.
    pub async fn certificates(&self) -> Vec<CertificateView> {
        self.ask_http(HttpRequest::Certificates).await.unwrap_or_default()
    }

    pub async fn cache_stats(&self) -> CacheStats {
        self.ask_http(HttpRequest::CacheStats).await.unwrap_or_default()
    }

    /// Forgets stored responses; says how many there were.
    pub async fn cache_purge(&self, what: Purge) -> u64 {
        self.ask_http(|reply| HttpRequest::Purge(Some(what), reply)).await.unwrap_or_default()
    }

    /// Live requests, until what is given is dropped.
    ///
    /// # Errors
    /// [`CommandError::Unknown`] for a route that is not there.
    pub async fn tap(&self, options: TapOptions) -> Result<Tap, CommandError> {
        self.ask_http(|reply| HttpRequest::Tap(options, reply)).await.unwrap_or_else(refused)
    }
}

impl Core {
    /// Serves a request about layer 7. An asker who has gone away is no matter.
    pub(crate) fn http(&self, request: HttpRequest) {
        let gateway = self.layer_7.gateway.as_ref();
        match request {
            HttpRequest::Explain(request, reply) => drop(reply.send(self.explain_request(&request))),
            HttpRequest::Certificates(reply) => {
                drop(reply.send(gateway.map(Gateway::certificates).unwrap_or_default()));
            }
            HttpRequest::CacheStats(reply) => {
                let _ = reply.send(gateway.map(Gateway::cache_stats).unwrap_or_default());
            }
            HttpRequest::Purge(what, reply) => {
                let _ = reply.send(gateway.map_or(0, |g| g.purge(what.as_ref())));
            }
            HttpRequest::Tap(options, reply) => drop(reply.send(self.tap(options))),
        }
    }

    fn explain_request(&self, request: &ExplainRequest) -> Result<HttpExplanation, CommandError> {
        let listeners = &self.truth.desired.listeners;
        if let Some(given) = request.listener.as_deref().filter(|l| !listeners.contains_key(*l)) {
            return Err(unknown("listener", given, listeners.keys().map(Name::as_str)));
        }
        let none = "there is no [[listener]], so no request would arrive";
        let gateway = self.layer_7.gateway.as_ref().filter(|_| !listeners.is_empty());
        let gateway = gateway.ok_or_else(|| CommandError::Invalid(none.to_owned()))?;
        gateway.explain(request).map_err(CommandError::Invalid)
    }

    fn tap(&self, options: TapOptions) -> Result<Tap, CommandError> {
        let routes = &self.truth.desired.routes;
        if let Some(given) = options.route.as_deref().filter(|g| !routes.iter().any(|r| r.name.as_str() == *g)) {
            return Err(unknown("route", given, routes.iter().map(|r| r.name.as_str())));
        }
        let none = || CommandError::Refused("layer 7 is not running: there is no [[listener]]".to_owned());
        Ok(self.layer_7.gateway.as_ref().ok_or_else(none)?.tap(options))
    }
}
