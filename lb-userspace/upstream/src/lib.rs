//! Requests to backends: which one, over which connection, how often.
//!
//! [`Upstreams`] is shared by all workers and holds what is one for the process: pools as published, what is known of each
//! backend, counts. A [`Client`] belongs to one worker and holds its connections.
#![forbid(unsafe_code)]

pub mod plan;
