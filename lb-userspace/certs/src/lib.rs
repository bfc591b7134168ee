//! Certificates: files, ACME, SNI, tickets.
#![forbid(unsafe_code)]
