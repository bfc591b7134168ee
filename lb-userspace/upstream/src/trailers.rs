//! Which trailers pass (RFC 9110 §6.5): those that are known to be no framing, routing, authentication or caching.

use http::{HeaderMap, HeaderName};

/// Fields that are defined for trailers, or harmless there.
const ALLOWED: [&str; 8] =
    ["content-digest", "repr-digest", "digest", "content-md5", "etag", "server-timing", "signature", "signature-input"];
/// Ours, or what backends trust us for, though their names begin with `x-`.
const FORBIDDEN: [&str; 6] =
    ["x-real-ip", "x-request-id", "x-api-key", "x-auth-token", "x-csrf-token", "x-http-method-override"];

pub(crate) fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    ALLOWED.contains(&name)
        || name.starts_with("grpc-")
        || (name.starts_with("x-")
            && !FORBIDDEN.contains(&name)
            && !["x-forwarded-", "x-original-", "x-rewrite-", "x-accel-"].iter().any(|p| name.starts_with(p)))
}

/// gRPC's trailers carry the application's own metadata under any name; what it may never be is framing, routing or
/// authentication.
fn passes_grpc(name: &HeaderName) -> bool {
    const NEVER: [&str; 16] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    passes(name) || !(NEVER.contains(&name.as_str()) || name.as_str().starts_with("x-"))
}

pub(crate) fn clean(fields: &mut HeaderMap) {
    retain(fields, passes);
}

pub(crate) fn clean_grpc(fields: &mut HeaderMap) {
    retain(fields, passes_grpc);
}

fn retain(fields: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = fields.keys().filter(|n| !keep(n)).cloned().collect();
    gone.iter().for_each(|name| drop(fields.remove(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_routing_and_authentication_stay_out() {
        for name in ["content-length", "transfer-encoding", "host", "authorization", "x-forwarded-for", "set-cookie"] {
            let name: HeaderName = name.parse().expect("a name");
            assert!(!passes(&name) && !passes_grpc(&name), "{name}");
        }
        for name in ["grpc-status", "x-checksum", "content-digest"] {
            let name: HeaderName = name.parse().expect("a name");
            assert!(passes(&name) && passes_grpc(&name), "{name}");
        }
        let own: HeaderName = "shop-trace-bin".parse().expect("a name");
        assert!(!passes(&own) && passes_grpc(&own));
    }
}
