//! A backend's answer made presentable: nothing in it names a backend, and every answer carries what the listener adds.

use http::{HeaderMap, HeaderValue};
use lb_model::http::{Listener, PathRewrite};
use lb_upstream::plan::PoolPlan;

/// What a listener adds to all of its responses; made when a configuration is.
#[derive(Debug, Default)]
pub struct Face {
    hsts: Option<HeaderValue>,
    alt_svc: Option<HeaderValue>,
}

impl Face {
    #[must_use]
    pub fn new(listener: &Listener) -> Self {
        let _ = listener;
        Self::default()
    }

    /// To every response, ours or a backend's.
    pub fn put(&self, headers: &mut HeaderMap, request_id: &HeaderValue) {
        let _ = (headers, request_id);
    }
}

/// By which names a pool's backends may give themselves away; made when a configuration is.
#[derive(Debug, Default)]
pub struct Backends {
    names: Vec<(String, u16)>,
}

impl Backends {
    /// `host`: the route's `rewrite.host`, which is then a backend's name too.
    #[must_use]
    pub fn new(pool: &PoolPlan, host: Option<&str>) -> Self {
        let _ = (pool, host);
        Self { names: Vec::new() }
    }
}

/// The client's side of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub secure: bool,
    /// Host as the client wrote it.
    pub authority: Option<&'a HeaderValue>,
    /// How the path was rewritten.
    pub rewrite: Option<&'a PathRewrite>,
    /// The route's prefix, for `replace_prefix` (`PathPattern::Prefix`).
    pub prefix: Option<&'a str>,
}

/// Cleans the fields of a backend's response, after [`super::hop::response`].
pub fn clean(headers: &mut HeaderMap, backends: &Backends, side: &Side<'_>) {
    let _ = (headers, backends, side);
}
