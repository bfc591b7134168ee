//! Texts and times of layer 7, by chance.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use lb_model::{Name, Prefix};
use proptest::prelude::*;

pub(crate) fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9._-]{0,12}".prop_map(|s| s.parse().expect("a name"))
}

pub(crate) fn path() -> impl Strategy<Value = PathBuf> {
    "/[ -~é]{1,20}".prop_map(PathBuf::from)
}

pub(crate) fn millis(from: u64, to: u64) -> impl Strategy<Value = Duration> {
    (from..to).prop_map(Duration::from_millis)
}

pub(crate) fn field_name() -> impl Strategy<Value = HeaderName> {
    "x-[a-z0-9_!-]{1,10}".prop_map(|s| s.parse().expect("a field's name"))
}

pub(crate) fn field_value() -> impl Strategy<Value = String> {
    "([!-~]([ -~]{0,10}[!-~])?)?"
}

pub(crate) fn prefix() -> impl Strategy<Value = Prefix> {
    any::<u16>().prop_map(|a| format!("2001:db8:{a:x}::/48").parse().expect("a range"))
}

pub(crate) fn host() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{1,8}(\\.[a-z0-9_]{1,8}){0,2}", Just("[2001:db8::1]".to_owned())]
}
