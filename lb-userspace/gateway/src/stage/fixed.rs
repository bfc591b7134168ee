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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[test]
    fn plain_text_unless_said_otherwise() {
        let response = fixed(StatusCode::OK, "hello".to_owned(), &[]);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.body().size_hint().exact(), Some(5));
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        assert_eq!(fixed(StatusCode::OK, "{}".to_owned(), &json).headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn several_lines_of_a_field() {
        let name = HeaderName::from_static("x-a");
        let lines = [(name.clone(), HeaderValue::from_static("1")), (name.clone(), HeaderValue::from_static("2"))];
        let response = fixed(StatusCode::OK, String::new(), &lines);
        assert_eq!(response.headers().get_all(name).iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn some_statuses_have_no_content() {
        let response = fixed(StatusCode::NO_CONTENT, "hello".to_owned(), &[]);
        assert!(response.body().is_end_stream());
        assert!(!response.headers().contains_key(CONTENT_TYPE));
    }
}
