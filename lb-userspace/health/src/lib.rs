//! The room `health`.
