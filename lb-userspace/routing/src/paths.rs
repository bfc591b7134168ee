//! The routes of one host by path: exact paths hashed, patterns in a tree of segments, prefixes hashed by each length
//! that occurs. So a look-up depends on the path and on the depth of the patterns, not on the number of routes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use lb_model::http::{PathPattern, Route, Segment};
use smallvec::SmallVec;

use crate::conditions;
use crate::head::Head;
use crate::rank::Rank;

/// Keys come from the configuration alone, so nobody can make them collide.
type Map<V> = HashMap<Box<str>, V, FixedState>;

/// Positions in [`Paths::order`], and so in the order of precedence.
type Positions = SmallVec<[u32; 2]>;

#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Indices of routes, the first in precedence first.
    order: Vec<usize>,
    exact: Map<Positions>,
    nodes: Vec<Node>,
    prefixes: Map<Positions>,
    /// Of prefixes, longest first, each once.
    lengths: Vec<usize>,
}

/// What may follow the segments that lead here.
#[derive(Debug, Default)]
struct Node {
    literal: Map<u32>,
    capture: Option<u32>,
    /// Patterns that end here.
    ends: Positions,
    /// Patterns with `/*` after this.
    rests: Positions,
}

impl Paths {
    pub(crate) fn new(routes: &[Arc<Route>], mut chosen: Vec<usize>) -> Self {
        chosen.sort_by_key(|&i| Rank::of(&routes[i].matching, i));
        let mut paths = Self { nodes: vec![Node::default()], ..Self::default() };
        for (position, &index) in (0u32..).zip(&chosen) {
            match &routes[index].matching.path {
                Some(PathPattern::Exact(path)) => {
                    paths.exact.entry(path.as_str().into()).or_default().push(position);
                }
                Some(PathPattern::Pattern { segments, rest }) => paths.plant(segments, *rest, position),
                Some(PathPattern::Prefix(prefix)) => paths.prefix(prefix, position),
                None => paths.prefix("", position),
            }
        }
        paths.lengths.sort_unstable_by(|a, b| b.cmp(a));
        paths.lengths.dedup();
        paths.order = chosen;
        paths
    }

    fn prefix(&mut self, prefix: &str, position: u32) {
        self.lengths.push(prefix.len());
        self.prefixes.entry(prefix.into()).or_default().push(position);
    }

    fn plant(&mut self, segments: &[Segment], rest: bool, position: u32) {
        let mut at = 0;
        for segment in segments {
            let next = self.nodes.len() as u32;
            let node = &mut self.nodes[at];
            let child = match segment {
                Segment::Literal(text) => *node.literal.entry(text.as_str().into()).or_insert(next),
                Segment::Capture(_) => *node.capture.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child as usize;
        }
        let node = &mut self.nodes[at];
        if rest { node.rests.push(position) } else { node.ends.push(position) }
    }

    /// The index of the first route in precedence whose path and conditions hold.
    pub(crate) fn find(&self, routes: &[Arc<Route>], head: &Head<'_>) -> Option<usize> {
        let exact = self.exact.get(head.path).map(|p| p.as_slice()).unwrap_or_default();
        self.first(routes, head, exact)
            .or_else(|| self.by_pattern(routes, head))
            .or_else(|| self.by_prefix(routes, head))
    }

    fn first(&self, routes: &[Arc<Route>], head: &Head<'_>, positions: &[u32]) -> Option<usize> {
        let mut indices = positions.iter().filter_map(|&p| self.order.get(p as usize).copied());
        indices.find(|&i| conditions::hold(&routes[i].matching, head))
    }

    fn by_pattern(&self, routes: &[Arc<Route>], head: &Head<'_>) -> Option<usize> {
        let root = self.nodes.first()?;
        if root.literal.is_empty() && root.capture.is_none() {
            return None;
        }
        let mut found = SmallVec::<[u32; 8]>::new();
        self.walk(root, head.path.get(1..), &mut found);
        found.sort_unstable();
        self.first(routes, head, &found)
    }

    /// Collects the patterns that the rest of a path matches; `None`: there is no further segment.
    fn walk(&self, node: &Node, rest: Option<&str>, found: &mut SmallVec<[u32; 8]>) {
        found.extend_from_slice(&node.rests);
        let Some(rest) = rest else {
            found.extend_from_slice(&node.ends);
            return;
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let literal = node.literal.get(segment).copied();
        let capture = node.capture.filter(|_| !segment.is_empty());
        for child in literal.into_iter().chain(capture) {
            if let Some(child) = self.nodes.get(child as usize) {
                self.walk(child, after, found);
            }
        }
    }

    fn by_prefix(&self, routes: &[Arc<Route>], head: &Head<'_>) -> Option<usize> {
        let path = head.path;
        self.lengths.iter().find_map(|&length| {
            let whole = path.len() == length || path.as_bytes().get(length) == Some(&b'/');
            let positions = self.prefixes.get(path.get(..length).filter(|_| whole)?)?;
            self.first(routes, head, positions)
        })
    }

    /// Indices of routes in the order of precedence.
    pub(crate) fn in_order(&self) -> &[usize] {
        &self.order
    }
}

/// Whether a pattern holds, by itself; the same as the indices find.
pub(crate) fn holds(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathPattern::Pattern { segments, rest } => {
            let mut given = path.get(1..).unwrap_or_default().split('/');
            let all = segments.iter().all(|wanted| match (wanted, given.next()) {
                (Segment::Literal(text), Some(segment)) => text == segment,
                (Segment::Capture(_), Some(segment)) => !segment.is_empty(),
                (_, None) => false,
            });
            all && (*rest || given.next().is_none())
        }
    }
}
