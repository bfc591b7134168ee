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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[test]
    fn a_location_and_nothing_else() {
        let response = redirect("https://a.test/x", StatusCode::PERMANENT_REDIRECT).expect("a redirect");
        assert_eq!(
            (response.status().as_u16(), &response.headers()[LOCATION]),
            (308, &HeaderValue::from_static("https://a.test/x"))
        );
        assert!(response.body().is_end_stream());
    }

    #[test]
    fn no_line_can_be_added() {
        let fault = redirect("/a\r\nset-cookie: x", StatusCode::FOUND).expect_err("not a value");
        assert_eq!(fault.refusal, Refusal::BadRequest);
    }
}
