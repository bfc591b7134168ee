//! Content codings towards the client (RFC 9110 §8.4, §12.5.3): which one, and the response encoded with it.

use http::{HeaderMap, Method, Response};
use lb_message::Body;
use lb_model::http::{Coding, Compress};

/// The coding for a client: the highest q wins, at equal q the route's order. `None`: as it is.
#[must_use]
pub fn negotiate(compress: &Compress, accept_encoding: &HeaderMap) -> Option<Coding> {
    let _ = (compress, accept_encoding);
    None
}

/// The response, encoded if the route, the client and the response allow it.
#[must_use]
pub fn encode(
    compress: &Compress,
    request_headers: &HeaderMap,
    method: &Method,
    response: Response<Body>,
) -> Response<Body> {
    let _ = (compress, request_headers, method);
    response
}
