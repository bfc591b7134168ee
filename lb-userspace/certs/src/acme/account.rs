//! The account at an authority: made once, kept in the state directory.

use std::path::Path;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::{Account, AccountCredentials, NewAccount};
use lb_model::http::{AcmeAccount, UpstreamTls};

use crate::{client, store};

/// The stored account, or a new one.
pub(super) async fn open(state_dir: &Path, wanted: &AcmeAccount) -> Result<Account, String> {
    let path = store::account(state_dir, wanted);
    let builder = Account::builder_with_http(Box::new(http(wanted)?));
    if let Ok(bytes) = std::fs::read(&path) {
        let credentials: AccountCredentials =
            serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        return builder.from_credentials(credentials).await.map_err(|e| at(wanted, &e));
    }
    let contact = wanted.email.as_ref().map(|e| format!("mailto:{e}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) =
        builder.create(&new, wanted.directory.clone(), None).await.map_err(|e| at(wanted, &e))?;
    store::write(&path, &serde_json::to_vec(&credentials).map_err(|e| e.to_string())?)?;
    Ok(account)
}

/// An authority is spoken to over TLS only, verified (RFC 8555 §6.1).
fn http(wanted: &AcmeAccount) -> Result<impl instant_acme::HttpClient + use<>, String> {
    let tls = UpstreamTls { ca: wanted.ca.clone(), server_name: None, client: None, verify: true };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config((*client::config(&tls, &[])?).clone())
        .https_only()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn at(wanted: &AcmeAccount, error: &instant_acme::Error) -> String {
    format!("{}: {}", wanted.directory, super::order::words(error))
}
