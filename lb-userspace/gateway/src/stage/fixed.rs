//! A fixed answer: `respond = { status, body, headers }`.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use lb_message::Body;

/// `body`: filled in. The server leaves it away where the method or the status has none.
#[must_use]
pub fn fixed(status: StatusCode, body: String, fields: &[(HeaderName, HeaderValue)]) -> Response<Body> {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT);
    let mut response = Response::new(if bodiless { Body::Empty } else { Body::full(body) });
    *response.status_mut() = status;
    if !bodiless {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    // The first of a name replaces ours, further ones are further lines.
    for (at, (name, value)) in fields.iter().enumerate() {
        if fields[..at].iter().any(|(n, _)| n == name) {
            response.headers_mut().append(name.clone(), value.clone());
        } else {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}
