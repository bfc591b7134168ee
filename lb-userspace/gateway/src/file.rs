//! Files from a folder: content makes the answer, this makes it the route's.

use std::path::Path;

use http::Response;
use http::request::Parts;
use lb_message::Body;

use crate::clock;
use crate::record::Record;
use crate::snapshot::Road;
use crate::stage::refuse::{self, Refused};
use crate::stage::respond::{self, Back, Backends, Side};

/// The file at `path` below `root`; `normal`: the path before it was rewritten.
pub(crate) async fn serve(
    road: &Road,
    root: &Path,
    (normal, path): (&str, &str),
    parts: &Parts,
    record: &mut Record,
) -> Response<Body> {
    let mut response = match lb_content::serve(root, path, &parts.method, &parts.headers, clock::wall()).await {
        Ok(response) => response,
        Err(refused) => {
            record.reason = Some(refused.refusal);
            let mut response = refuse::refuse(&Refused {
                refusal: refused.refusal,
                detail: refused.refusal.title(),
                request_id: &record.request_id,
                retry_after: None,
                grpc: false,
                close: false,
                pages: Some(&road.pages).filter(|p| !p.is_empty()),
            });
            response.headers_mut().extend(refused.headers);
            response
        }
    };
    // A folder's redirect names the path below `root`; the client knows the one before rewriting.
    if let Some(back) = Back::of(&road.route, normal) {
        let authority = record.head.as_ref().and_then(|h| h.host.as_ref());
        let side = Side { secure: record.connection.peer.secure, authority, back: Some(back) };
        respond::clean(response.headers_mut(), &Backends::default(), &side);
    }
    match &road.route.compress {
        Some(compress) => lb_content::encode(compress, &parts.headers, &parts.method, response),
        None => response,
    }
}
