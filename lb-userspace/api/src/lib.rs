//! The control socket: HTTP/1.1 with JSON over a Unix socket. Documents ([`wire`]), the daemon's side ([`server`]) and
//! the CLI's ([`client`]).
#![forbid(unsafe_code)]

pub mod client;
pub mod document;
pub mod server;
pub mod socket;
pub mod wire;

mod request;
mod routes;

pub use client::{Client, ClientError};
pub use socket::{Claim, ClaimError};
