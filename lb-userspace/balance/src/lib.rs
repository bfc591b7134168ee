//! Balancing in user space: a picker is built whole from a pool's members and never changes.
//!
//! What changes while it is in use (turns taken, flows held) lives outside, behind [`Surroundings`]; so a pool is
//! replaced by publishing another picker, and `explain` asks the same picker without taking a turn.
#![forbid(unsafe_code)]

pub mod picker;
pub mod request;
pub mod table;

pub use picker::{Ask, Pick, Picker, Surroundings};
pub use request::{Load, RequestPicker, Seat};
pub use table::{Member, identity, slots};
