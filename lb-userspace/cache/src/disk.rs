//! The disk tier.

use std::sync::Arc;

use http::HeaderMap;

use crate::key::Key;
use crate::store::Store;
use crate::stored::Stored;

#[derive(Debug)]
pub(crate) struct Disk {}

impl Disk {
    pub(crate) async fn find(&self, _key: &Key, _request: &HeaderMap, _store: &Store) -> Option<Arc<Stored>> {
        None
    }
    pub(crate) fn may_have(&self, _key: &Key) -> bool {
        false
    }
    pub(crate) fn put(&self, _key: &Key, _stored: &Arc<Stored>, _ledger: u64) {}
}
