//! What would become of a request: asked without sending anything.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    pub method: Method,
    /// Absolute.
    pub url: String,
    pub headers: HeaderMap,
    /// The client; `None`: loopback.
    pub from: Option<IpAddr>,
    /// Where the URL's scheme and port do not tell.
    pub listener: Option<String>,
}

/// One stage's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpStep {
    pub stage: &'static str,
    pub decision: String,
    pub why: String,
}

/// A backend that may get the request where chance or state decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCandidate {
    pub pool: String,
    pub backend: String,
    pub weight: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpExplanation {
    /// `forward` or `respond`.
    pub verdict: &'static str,
    /// A [`lb_model::http::Refusal`]'s name, or what was decided in one word.
    pub reason: String,
    pub listener: Option<String>,
    pub route: Option<String>,
    /// With the verdict `respond`.
    pub status: Option<u16>,
    pub pool: Option<String>,
    /// `ip:port`, where neither chance nor state decides.
    pub backend: Option<String>,
    pub candidates: Vec<HttpCandidate>,
    pub steps: Vec<HttpStep>,
}
