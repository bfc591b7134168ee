//! What is answered from here and how bodies are encoded: files, ranges, compression.
#![forbid(unsafe_code)]
