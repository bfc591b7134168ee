//! What a file's request would be answered with, asked of the function that serves files.

use std::path::Path;
use std::time::SystemTime;

use http::StatusCode;
use http::request::Parts;

/// Waits for the disk, on a thread of its own: who asks may be within a runtime.
pub(super) fn status(root: &Path, path: &str, parts: &Parts, now: SystemTime) -> StatusCode {
    let serve = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
        Some(match runtime.block_on(lb_content::serve(root, path, &parts.method, &parts.headers, now)) {
            Ok(response) => response.status(),
            Err(refused) => refused.refusal.status(),
        })
    };
    let answer = std::thread::scope(|scope| scope.spawn(serve).join());
    answer.ok().flatten().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
