//! What layer 7 hands from stage to stage: [`Body`], and [`problem`] documents for requests that are refused.
#![forbid(unsafe_code)]

pub mod body;
pub mod problem;

pub use body::{Body, BoxError};
pub use problem::{Problem, problem};
