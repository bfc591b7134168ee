//! A response as a client got it.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::parse::{Fields, values};

#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// As in the status line: "HTTP/1.1".
    pub version: String,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The 1xx responses before it.
    pub interim: Vec<Answer>,
    /// The body ended with the connection, before its length or its last chunk.
    pub cut: bool,
}

impl Answer {
    /// The first value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    /// All values of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name).collect()
    }
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON, `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A refusal of the product's own: its status, a problem document of that reason, an id.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn is_refusal(&self, status: u16, reason: &str) -> Result<()> {
        ensure!(self.status == status, "status {} instead of {status}: {}", self.status, self.text());
        let kind = self.field("content-type").unwrap_or_default();
        ensure!(kind == "application/problem+json", "content-type {kind:?} of a refusal");
        let document = self.json();
        ensure!(document["type"] == format!("urn:lb:{reason}"), "{document} instead of {reason}");
        ensure!(document["reason"] == reason && document["status"] == status, "{document}");
        ensure!(document["title"].is_string() && document["detail"].is_string(), "{document}");
        let id = self.field("x-request-id").unwrap_or_default();
        ensure!(!id.is_empty() && document["request_id"] == id, "request id {id:?} in {document}");
        Ok(())
    }
}
