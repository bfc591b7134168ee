//! Layer 7: listeners, routes, what a pool is at this layer, and why a request was refused.

pub mod listener;
pub mod matching;
pub mod reason;
pub mod route;
pub mod template;
pub mod upstream;

pub use listener::{
    AcmeAccount, Certificate, CertificateSource, ClientAuth, Listener, ListenerLimits, ListenerTimeouts, Protocols,
    TlsVersion,
};
pub use matching::{HostPattern, Match, PathPattern, Segment, ValueMatch};
pub use reason::Refusal;
pub use route::{
    Cache, Coding, Compress, DiskCache, Mirror, PathRewrite, Retry, Rewrite, Route, RouteTimeouts, Target, UnsafeEscape,
};
pub use template::{Piece, Template};
pub use upstream::{HashOn, HttpAlgorithm, HttpPool, Outlier, Queue, SameSite, Sticky, UpstreamProtocol, UpstreamTls};
