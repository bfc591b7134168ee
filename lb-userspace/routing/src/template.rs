//! Filling templates in for a request.

use lb_model::http::{Piece, Route, Template};

use crate::head::{Captures, Head};

/// The text with captures as they stand in the normal path (percent-encoded), so that it is visible ASCII as long as
/// the template is.
#[must_use]
pub fn fill(template: &Template, route: &Route, captures: &Captures, head: &Head<'_>) -> String {
    let mut out = String::new();
    for piece in &template.pieces {
        out.push_str(match piece {
            Piece::Literal(text) => text,
            Piece::Capture(name) => captures.get(route, name, head.path).unwrap_or_default(),
            Piece::Host => head.host,
            Piece::Path => head.path,
            Piece::Query => head.query.unwrap_or_default(),
        });
    }
    out
}
