//! Certificates: files, ACME, SNI, tickets.
//!
//! [`ServerTls`] is what a listener serves with, [`client::config`] what backends are spoken to with. [`acme`] orders
//! certificates and leaves them as files, which [`ServerTls::poll`] finds like any other.
#![forbid(unsafe_code)]

pub mod acme;
mod challenges;
pub mod client;
mod crypto;
mod entry;
mod names;
mod ocsp;
mod pair;
mod pem;
mod resolver;
pub mod self_signed;
mod server;
mod settings;
mod store;
mod view;
mod watch;

pub use challenges::{ACME_TLS_ALPN, Challenges};
pub use server::ServerTls;
pub use view::View;
