//! Any Cache-Control lines: directives come out, or nothing does.
#![no_main]

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: Vec<&[u8]>| {
    let mut headers = HeaderMap::new();
    for line in lines.iter().take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(CACHE_CONTROL, value);
        }
    }
    let once = format!("{:?}", lb_cache::directives::parse(&headers));
    assert_eq!(once, format!("{:?}", lb_cache::directives::parse(&headers)));
    let _ = lb_cache::directives::parse_request(&headers);
});
