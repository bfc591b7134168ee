//! Which of two routes for the same host comes first.

use std::cmp::Reverse;

use lb_model::http::{Match, PathPattern, Segment};

/// Smaller comes first; see the crate's "Precedence".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    class: u8,
    literal: Reverse<usize>,
    /// Of two patterns with as many literal bytes the one without `/*`.
    rest: bool,
    no_methods: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    cookies: Reverse<usize>,
    no_source: bool,
    place: usize,
}

impl Rank {
    /// `place`: in the file.
    pub(crate) fn of(m: &Match, place: usize) -> Self {
        let (class, literal, rest) = match &m.path {
            Some(PathPattern::Exact(_)) => (0, 0, false),
            Some(PathPattern::Pattern { segments, rest }) => (1, literal_bytes(segments), *rest),
            Some(PathPattern::Prefix(prefix)) => (2, prefix.len(), false),
            None => (2, 0, false),
        };
        Self {
            class,
            literal: Reverse(literal),
            rest,
            no_methods: m.methods.is_empty(),
            headers: Reverse(m.headers.len()),
            query: Reverse(m.query.len()),
            cookies: Reverse(m.cookies.len()),
            no_source: m.source.is_empty(),
            place,
        }
    }
}

/// Everything but the captures, slashes included.
fn literal_bytes(segments: &[Segment]) -> usize {
    let bytes = |s: &Segment| match s {
        Segment::Literal(text) => 1 + text.len(),
        Segment::Capture(_) => 1,
    };
    segments.iter().map(bytes).sum()
}
