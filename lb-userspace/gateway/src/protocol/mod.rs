//! The versions of HTTP that clients speak, each from a connection's bytes to the pipeline and back.

pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod h3;
pub(crate) mod timer;
