//! What the layer-7 suites are made of: the product on loopback, backends and clients that see and send every byte.

pub mod answer;
pub mod backend;
pub mod client;
pub mod echo;
pub mod frames;
pub mod parse;
pub mod port;
pub mod proxy;
pub mod scene;
pub mod stream;
pub mod tls;
pub mod venv;
