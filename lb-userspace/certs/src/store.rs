//! Where ACME keeps things below the state directory, and writing them so that a crash leaves the old or the new.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use lb_model::http::AcmeAccount;

/// Certificate chain and key of an order, in one PEM file.
pub(crate) fn bundle(state_dir: &Path, account: &AcmeAccount, names: &[String]) -> PathBuf {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let identity = format!("{}\n{}", account.directory, sorted.join("\n"));
    let first = sorted.first().map_or("", String::as_str);
    directory(state_dir).join(format!("{}-{}.pem", file_name(first), short(&identity)))
}

/// The account's URL and key, as JSON. Another address of e-mail is another account.
pub(crate) fn account(state_dir: &Path, account: &AcmeAccount) -> PathBuf {
    let identity = format!("{}\n{}", account.directory, account.email.as_deref().unwrap_or(""));
    directory(state_dir).join(format!("account-{}.json", short(&identity)))
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("acme")
}

fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).take(100).collect()
}

fn short(identity: &str) -> String {
    digest(&SHA256, identity.as_bytes()).as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// Write, fsync, rename, fsync of the folder; readable by the owner only. Makes the folder.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(named)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = folder.join(name);
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(named)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(named)?;
    std::fs::rename(&new, path).map_err(named)?;
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(named)
}
