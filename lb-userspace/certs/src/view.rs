//! A certificate as `lb cert list` shows it.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// As configured, else those that the certificate names.
    pub names: Vec<String>,
    pub issuer: Option<String>,
    /// RFC 3339, UTC.
    pub not_after: Option<String>,
    /// `file` or `acme`.
    pub source: &'static str,
    /// Of the certificate; `None` where none has been issued yet.
    pub path: Option<String>,
    /// Why what is on the disk is not in force, or what is wrong with what is.
    pub error: Option<String>,
}
