//! How old a stored response is and whether it may be used (RFC 9111 §4.2, RFC 5861): pure functions of time.

use std::time::{Duration, SystemTime};

use crate::directives::Directives;

/// Until when a response may be used stale for one of RFC 5861's reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// The response says how long.
    Said(Duration),
    /// It says nothing: the route's value counts.
    Route,
    /// It forbids stale use.
    Never,
}

impl Window {
    /// Zero: not at all.
    pub(crate) fn resolve(self, route: Duration) -> Duration {
        match self {
            Self::Said(window) => window,
            Self::Route => route,
            Self::Never => Duration::ZERO,
        }
    }
}

/// What decides how long a response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) received: SystemTime,
    /// When it was received (§4.2.3, corrected_initial_age).
    pub(crate) initial_age: Duration,
    /// §4.2.1
    pub(crate) lifetime: Duration,
    /// `no-cache`: never without validation.
    pub(crate) no_cache: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: the client's `max-stale` does not count.
    pub(crate) strict: bool,
    pub(crate) while_revalidate: Window,
    pub(crate) if_error: Window,
}

/// What may be done with a stored response that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Fresh,
    /// The client takes it stale.
    Stale,
    /// Used once more, and fetched anew meanwhile.
    WhileRevalidate,
    /// It is stale: validate.
    Validate,
    /// It is fresh, but the request forbids its use.
    RequestForbids,
}

impl Life {
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        self.initial_age + now.duration_since(self.received).unwrap_or_default()
    }
    /// Seconds of freshness left, as Cache-Status has it; negative once stale.
    pub(crate) fn ttl(&self, now: SystemTime) -> i64 {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age(now)))
    }

    pub(crate) fn decide(&self, now: SystemTime, request: &Directives, while_revalidate: Duration) -> Use {
        let age = self.age(now);
        let seconds = Duration::from_secs;
        if request.no_cache != crate::directives::Scope::Absent {
            return if age < self.lifetime && !self.no_cache { Use::RequestForbids } else { Use::Validate };
        }
        if self.no_cache {
            return Use::Validate;
        }
        if age < self.lifetime {
            let too_old = request.max_age.is_some_and(|max| age > seconds(max));
            let too_stale_soon = request.min_fresh.is_some_and(|min| self.lifetime - age < seconds(min));
            return if too_old || too_stale_soon { Use::RequestForbids } else { Use::Fresh };
        }
        let over = age - self.lifetime;
        if request.min_fresh.is_some() || request.max_age.is_some_and(|max| age > seconds(max)) {
            return Use::Validate;
        }
        if over < self.while_revalidate.resolve(while_revalidate) {
            return Use::WhileRevalidate;
        }
        match request.max_stale {
            Some(max) if !self.strict && over <= seconds(max) => Use::Stale,
            _ => Use::Validate,
        }
    }

    /// The backend failed: may this be used instead (RFC 5861 §4)?
    pub(crate) fn if_error(&self, now: SystemTime, request: &Directives, route: Duration) -> bool {
        let asked = request.stale_if_error.map(Duration::from_secs).filter(|_| !self.strict);
        let window = match self.if_error {
            Window::Never => return self.age(now) < self.lifetime && !self.no_cache,
            window => window.resolve(route).max(asked.unwrap_or_default()),
        };
        self.age(now) < self.lifetime + window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(age: u64, lifetime: u64) -> Life {
        Life {
            received: SystemTime::UNIX_EPOCH,
            initial_age: Duration::from_secs(age),
            lifetime: Duration::from_secs(lifetime),
            no_cache: false,
            strict: false,
            while_revalidate: Window::Route,
            if_error: Window::Route,
        }
    }

    fn asked(text: &'static str) -> Directives {
        let mut headers = http::HeaderMap::new();
        if !text.is_empty() {
            headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static(text));
        }
        crate::directives::parse_request(&headers)
    }

    #[test]
    fn requests_narrow_and_widen() {
        for (age, lifetime, request, expected) in [
            (5, 10, "", Use::Fresh),
            (10, 10, "", Use::Validate),
            (5, 10, "no-cache", Use::RequestForbids),
            (5, 10, "max-age=4", Use::RequestForbids),
            (5, 10, "max-age=5", Use::Fresh),
            (5, 10, "max-age=0", Use::RequestForbids),
            (5, 10, "min-fresh=5", Use::Fresh),
            (5, 10, "min-fresh=6", Use::RequestForbids),
            (15, 10, "max-stale", Use::Stale),
            (15, 10, "max-stale=5", Use::Stale),
            (15, 10, "max-stale=4", Use::Validate),
            (15, 10, "max-stale=9, max-age=3", Use::Validate),
        ] {
            let used = life(age, lifetime).decide(SystemTime::UNIX_EPOCH, &asked(request), Duration::ZERO);
            assert_eq!(used, expected, "age {age} of {lifetime}, {request}");
        }
    }

    #[test]
    fn responses_that_forbid_stale_use_are_obeyed() {
        let now = SystemTime::UNIX_EPOCH;
        let route = Duration::from_secs(60);
        let stale = life(15, 10);
        assert_eq!(stale.decide(now, &asked(""), route), Use::WhileRevalidate);
        assert!(stale.if_error(now, &asked(""), route));
        assert!(!stale.if_error(now, &asked(""), Duration::ZERO));
        assert!(stale.if_error(now, &asked("stale-if-error=6"), Duration::ZERO));
        let strict = Life { strict: true, while_revalidate: Window::Never, if_error: Window::Never, ..stale };
        assert_eq!(strict.decide(now, &asked("max-stale"), route), Use::Validate);
        assert!(!strict.if_error(now, &asked("stale-if-error=99"), route));
        let said = Life { strict: true, while_revalidate: Window::Said(Duration::from_secs(6)), ..stale };
        assert_eq!(said.decide(now, &asked(""), Duration::ZERO), Use::WhileRevalidate);
        let no_cache = Life { no_cache: true, ..life(0, 10) };
        assert_eq!(no_cache.decide(now, &asked("max-stale"), route), Use::Validate);
    }

    #[test]
    fn time_that_runs_backwards_makes_nothing_older() {
        let l = Life { received: SystemTime::UNIX_EPOCH + Duration::from_secs(100), ..life(3, 10) };
        assert_eq!(l.age(SystemTime::UNIX_EPOCH), Duration::from_secs(3));
        assert_eq!(l.ttl(SystemTime::UNIX_EPOCH + Duration::from_secs(120)), -13);
    }
}
