//! Texts with captures in them: `/orders/{id}`.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    Literal(String),
    /// `{name}`: a capture of the route's pattern.
    Capture(String),
    /// `{host}`: the request's host, without port.
    Host,
    /// `{path}`: the request's normalised path.
    Path,
    /// `{query}`: the request's query as sent, without `?`.
    Query,
}

/// A text whose pieces are filled in for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template {
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadTemplate {
    #[error("'{0}' has a brace without its counterpart; a brace itself is written {{{{ or }}}}")]
    Brace(String),
    #[error("'{{{0}}}' is not a name of letters, digits and '_'")]
    Name(String),
}

impl Template {
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Literal(text.into())] }
    }

    /// Reads `{name}`; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let bad = || BadTemplate::Brace(text.to_owned());
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = tail.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                let (name, after) = tail.strip_prefix('{').and_then(|t| t.split_once('}')).ok_or_else(bad)?;
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(BadTemplate::Name(name.to_owned()));
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(match name {
                    "host" => Piece::Host,
                    "path" => Piece::Path,
                    "query" => Piece::Query,
                    _ => Piece::Capture(name.to_owned()),
                });
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// The text, if nothing is to be filled in.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Capture(name) => write!(f, "{{{name}}}")?,
                Piece::Host => f.write_str("{host}")?,
                Piece::Path => f.write_str("{path}")?,
                Piece::Query => f.write_str("{query}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_read_back_as_written() {
        for s in ["", "/orders/{id}", "https://{host}{path}?{query}", "a {{b}} {c}"] {
            assert_eq!(Template::parse(s).map(|t| t.to_string()), Ok(s.to_owned()));
        }
        assert_eq!(Template::parse("a{{").expect("a template").as_literal(), Some("a{"));
        for s in ["{", "}", "/{id", "/{}", "/{a b}", "x}y"] {
            assert!(Template::parse(s).is_err(), "{s}");
        }
    }
}
