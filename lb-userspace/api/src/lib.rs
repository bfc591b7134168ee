//! The control socket: HTTP/1.1 with JSON over a Unix socket. Documents ([`wire`]), the daemon's side ([`server`]) and
//! the CLI's ([`client`]).
#![forbid(unsafe_code)]

pub mod client;
pub mod document;
pub mod document_http;
pub mod server;
pub mod socket;
pub mod wire;

mod answer;
mod request;
mod routes;
mod routes_http;

pub use client::{Client, ClientError};
pub use socket::{Claim, ClaimError};
