//! One order: names are shown to be ours, then a certificate is asked for.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::CustomExtension;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use super::Want;
use crate::challenges::{Answer, Challenges, Method};
use crate::{crypto, self_signed};

/// The authority visits us within this time; it is asked at growing intervals.
const VISIT: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.6).timeout(Duration::from_secs(120));

/// PEM texts.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

pub(super) async fn run(account: &Account, want: &Want, challenges: &Arc<Challenges>) -> Result<Issued, String> {
    let names: Vec<Identifier> =
        want.names.iter().map(|n| n.parse().map_or_else(|_| Identifier::Dns(n.clone()), Identifier::Ip)).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(|e| words(&e))?;
    let answers = answer(&mut order, want.by, challenges).await?;
    // Without anything to show (all authorised before) the order may be ready already.
    let ready = if order.state().status == OrderStatus::Ready {
        Ok(OrderStatus::Ready)
    } else {
        order.poll_ready(&VISIT).await
    };
    drop(answers);
    match ready {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why_invalid(&mut order).await),
        Err(e) => return Err(words(&e)),
    }
    // A new key each time.
    let key = order.finalize().await.map_err(|e| words(&e))?;
    let chain = order.poll_certificate(&VISIT).await.map_err(|e| words(&e))?;
    Ok(Issued { chain, key })
}

/// Puts an answer up for each name that needs one, and says so to the authority.
async fn answer(order: &mut Order, by: Method, challenges: &Arc<Challenges>) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(|e| words(&e))?;
        match authorization.status {
            AuthorizationStatus::Pending => answers.push(show(authorization, by, challenges).await?),
            AuthorizationStatus::Valid => {}
            other => return Err(format!("{}: the authorization is {other:?}", authorization.identifier())),
        }
    }
    Ok(answers)
}

/// By the preferred way if the authority offers it, else by the other.
async fn show(
    mut authorization: AuthorizationHandle<'_>,
    by: Method,
    challenges: &Arc<Challenges>,
) -> Result<Answer, String> {
    let name = authorization.identifier().to_string();
    let offered = |kind: &ChallengeType| authorization.challenges.iter().any(|c| c.r#type == *kind);
    let by = match (offered(&ChallengeType::Http01), offered(&ChallengeType::TlsAlpn01), by) {
        (true, true, by) => by,
        (true, false, _) => Method::Http,
        (false, true, _) => Method::TlsAlpn,
        (false, false, _) => return Err(format!("{name}: the authority offers neither http-01 nor tls-alpn-01")),
    };
    let kind = if by == Method::Http { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
    let Some(mut challenge) = authorization.challenge(kind) else {
        return Err(format!("{name}: what the authority offers has changed"));
    };
    let authorization = challenge.key_authorization();
    let answer = match by {
        Method::Http => challenges.answer_http(&challenge.token, authorization.as_str()),
        Method::TlsAlpn => {
            challenges.answer_tls(&name, validation_certificate(&name, authorization.digest().as_ref())?)
        }
    };
    challenge.set_ready().await.map_err(|e| format!("{name}: {}", words(&e)))?;
    Ok(answer)
}

/// RFC 8737 §3: self-signed, for this name alone, with the digest in a critical extension.
fn validation_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{name}: an address is validated by http-01 only, at a listener in clear text"));
    }
    let (mut params, key) = self_signed::params(&[name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    let private = PrivateKeyDer::try_from(key.serialize_der())?;
    // Not `from_der`: its check does not know the critical extension.
    let signer = crypto::provider().key_provider.load_private_key(private).map_err(|e| e.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

/// What the authority says of the name that it could not validate.
async fn why_invalid(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            break;
        }
        if let Some(problem) = authorization.challenges.iter().find_map(|c| c.error.as_ref()) {
            return format!("{}: {}", authorization.identifier(), words(&Error::Api(problem.clone())));
        }
    }
    "the authority calls the order invalid and does not say why".to_owned()
}

/// The error and what caused it: "error sending request" alone helps nobody.
pub(super) fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(c) = cause {
        let more = c.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = c.source();
    }
    text
}
