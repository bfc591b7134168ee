//! What the paths of layer 7 do.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lb_control::{ExplainRequest, Handle, Purge, TapOptions};

use crate::document_http as document;
use crate::request::{Asked, invalid};
use crate::routes::{Answer, Answered, Asker, or_fault};
use crate::wire::{ExplainRequestDoc, Fault, FaultKind, PurgeDoc, PurgedDoc, TakeoverDoc};

pub(crate) async fn explain(asked: &Asked, handle: &Handle) -> Answered {
    let ExplainRequestDoc { method, url, headers, from, listener } = asked.json()?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| invalid(format!("'{method}' is not a method")))?;
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("'{name}' names no field")))?;
        let value = HeaderValue::from_str(&value).map_err(|_| invalid(format!("'{value}' is no value of a field")))?;
        fields.append(parsed, value);
    }
    let address = |text: String| text.parse().map_err(|_| invalid(format!("'from': '{text}' is not an address")));
    let request = ExplainRequest { method, url, headers: fields, from: from.map(address).transpose()?, listener };
    let explanation = or_fault(handle, handle.explain_request(request).await).await?;
    Answer::ok(&document::explanation(&explanation))
}

pub(crate) async fn certificates(handle: &Handle) -> Answered {
    Answer::ok(&handle.certificates().await.iter().map(document::certificate).collect::<Vec<_>>())
}

pub(crate) async fn cache_stats(handle: &Handle) -> Answered {
    Answer::ok(&document::cache_stats(handle.cache_stats().await))
}

pub(crate) async fn purge(asked: &Asked, handle: &Handle) -> Answered {
    let what = match asked.json::<PurgeDoc>()? {
        PurgeDoc::Key(url) => Purge::Key(url),
        PurgeDoc::Prefix(url) => Purge::Prefix(url),
        PurgeDoc::Tag(tag) => Purge::Tag(tag),
    };
    Answer::ok(&PurgedDoc { purged: handle.cache_purge(what).await })
}

/// Lines of JSON until the asker goes away.
pub(crate) async fn tap(asked: &Asked, handle: &Handle) -> Answered {
    asked.only(&["route", "header"])?;
    let name = |h: &str| HeaderName::from_bytes(h.as_bytes()).map_err(|_| invalid(format!("'{h}' names no field")));
    let headers = asked.all("header").map(|h| name(h).map(|n| n.to_string())).collect::<Result<_, Fault>>()?;
    let options = TapOptions { route: asked.query("route").map(str::to_owned), headers };
    Ok(Answer::Lines(or_fault(handle, handle.tap(options).await).await?))
}

pub(crate) async fn takeover(asked: &Asked, asker: &Asker) -> Answered {
    let TakeoverDoc { path } = asked.json()?;
    let refused = |why: &str| Fault::new(FaultKind::Refused, why);
    let owner = asker.takeover.as_ref().ok_or_else(|| refused("this daemon cannot be taken over"))?;
    let (reply, answer) = tokio::sync::oneshot::channel();
    let ask = crate::server::Takeover { path: path.into(), reply };
    owner.send(ask).await.map_err(|_| refused("this daemon is ending"))?;
    match answer.await {
        Ok(Ok(done)) => Answer::done(done),
        Ok(Err(why)) => Err(refused(&why)),
        Err(_) => Err(refused("this daemon is ending")),
    }
}
