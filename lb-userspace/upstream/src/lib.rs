//! Requests to backends: which one, over which connection, how often.
//!
//! [`Upstreams`] is shared by all workers and holds what is one for the process: pools as published, what is known of each
//! backend, counts. A [`Client`] belongs to one worker and holds its connections.
//!
//! A request's way: `exchange` (its tries) → `pool` and `published` (a place at a backend: `sticky`, `queue`) → `lane` and
//! `connect` (a connection) → `upload` (its body) → `head` and `respond` (the answer's head) → `download` (the answer's
//! body), or `retry`. What an answer says of its backend goes to `backend` and `outlier`.
#![forbid(unsafe_code)]

mod answer;
mod backend;
mod budget;
mod client;
mod clock;
mod connect;
mod deadline;
mod download;
mod exchange;
mod head;
mod lane;
mod link;
mod outlier;
mod pool;
mod published;
mod queue;
mod ramp;
mod respond;
mod retry;
mod sticky;
mod stream;
mod trailers;
mod upload;
mod upstreams;

pub mod plan;

pub use answer::{Answer, BodyRefused, Failure, InFlight};
pub use budget::RetryBudget;
pub use client::{Client, Want};
pub use pool::PoolHandle;
pub use upstreams::{Ask, BackendReading, Candidate, Choice, Prepared, Upstreams};
