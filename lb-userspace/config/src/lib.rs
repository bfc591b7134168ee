//! From TOML to the model through one door: every error at once, each with its place, a caret and a suggestion.
//!
//! A file goes `syntax` (TOML with spans) → `table` (keys and values against the one declaration in `keys`) → `read`
//! (tables to model values) → `check` (what only shows when all is seen together) → [`Desired`]. The reference in
//! `docs/` and the JSON Schema are printed from the same declaration.
#![forbid(unsafe_code)]

mod check;
mod composite;
mod diagnostic;
mod environment;
mod export;
mod flags;
mod json_schema;
mod keys;
mod load;
mod nearest;
mod read;
mod reference;
mod report;
mod schema;
mod source;
mod syntax;
mod table;
mod units;
mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use environment::Environment;
pub use export::export;
pub use flags::{Flags, from_flags, from_flags_in, self_signed_files};
pub use json_schema::json_schema;
pub use lb_model::Desired;
pub use load::{Loaded, load, parse, parse_in};
pub use nearest::nearest;
pub use reference::reference;
pub use units::{Duration as DurationText, parse_duration};
