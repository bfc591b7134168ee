//! The versions of HTTP that clients speak, each from a connection's bytes to the pipeline and back.

pub(crate) mod h1;
