//! A redirect: a Location and nothing else.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use lb_message::Body;
use lb_model::http::Refusal;

use super::Fault;

/// `to`: `redirect.to`, filled in; literal, so no query is added.
///
/// # Errors
/// [`Refusal::BadRequest`] if what was filled in cannot stand in a field.
pub fn redirect(to: &str, status: StatusCode) -> Result<Response<Body>, Fault> {
    let location =
        HeaderValue::from_str(to).map_err(|_| Fault::new(Refusal::BadRequest, "the request cannot be redirected"))?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
