//! Why a request was refused: the one list of problem documents, logs, metrics and `lb explain`. Append-only.

use http::StatusCode;

macro_rules! refusals {
    ($($variant:ident = $name:literal, $status:literal, $title:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal { $(#[doc = $title] $variant,)+ }

        impl Refusal {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// As in logs, metrics and `urn:lb:NAME`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }
            /// One line for people; never names a backend.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

refusals! {
    BadRequest = "bad_request", 400, "The request is not valid HTTP";
    ClientTimeout = "client_timeout", 408, "The request did not arrive in time";
    BodyTooLarge = "body_too_large", 413, "The request's body is too large";
    UriTooLong = "uri_too_long", 414, "The request's target is too long";
    Misdirected = "misdirected", 421, "This connection is not for that host";
    HeadersTooLarge = "headers_too_large", 431, "The request's header fields are too large";
    NoRoute = "no_route", 404, "Nothing is served here";
    ConnectFailed = "connect_failed", 502, "The service cannot be reached";
    BackendClosed = "backend_closed", 502, "The service ended the exchange";
    BadResponse = "bad_response", 502, "The service's answer is not valid";
    BackendTls = "backend_tls", 502, "No secure connection to the service";
    NoBackend = "no_backend", 503, "Nothing is available to serve this";
    QueueFull = "queue_full", 503, "Too many requests are waiting";
    CircuitOpen = "circuit_open", 503, "The service is given a rest";
    ConnectTimeout = "connect_timeout", 504, "The service did not accept in time";
    BackendTimeout = "backend_timeout", 504, "The service did not answer in time";
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here";
    TooEarly = "too_early", 425, "The request came too early to be safe";
    NotFound = "not_found", 404, "There is no such file";
    RangeNotSatisfiable = "range_not_satisfiable", 416, "There is no such range";
    UpgradeRefused = "upgrade_refused", 403, "The connection may not be upgraded here";
    ExpectationFailed = "expectation_failed", 417, "What is expected cannot be met";
    VersionNotSupported = "version_not_supported", 505, "This version of HTTP is not spoken";
    ClientClosed = "client_closed", 499, "The client went away";
    ShuttingDown = "shutting_down", 503, "This server is going away";
    Overloaded = "overloaded", 503, "There is no room for more";
    Internal = "internal", 500, "Something went wrong here";
}

impl Refusal {
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `grpc-status` of the same refusal (the gRPC project's mapping of HTTP statuses, and the contract's).
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        match self.code() {
            400 | 431 | 414 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            408 | 504 => 4,
            413 | 429 => 8,
            502 | 503 => 14,
            500 => 13,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_statuses_are_statuses() {
        let mut names: Vec<&str> = Refusal::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
        for r in Refusal::ALL {
            assert_eq!(r.status().as_u16(), r.code());
        }
    }

    #[test]
    fn grpc_hears_what_the_contract_says() {
        assert_eq!(Refusal::ConnectFailed.grpc_status(), 14);
        assert_eq!(Refusal::NoBackend.grpc_status(), 14);
        assert_eq!(Refusal::BackendTimeout.grpc_status(), 4);
        assert_eq!(Refusal::NoRoute.grpc_status(), 12);
    }
}
