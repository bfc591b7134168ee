//! Test programs, built once with one selection of packages and then run directly: asked anew for each suite, cargo would
//! unite other features and build the dependencies again.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use cargo_metadata::{Message, TargetKind};

use crate::{house, shell};

/// One test program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) package: String,
    pub(crate) name: String,
    /// From `tests/`, not beside the code.
    pub(crate) is_suite: bool,
    /// The first line of its source, which says what it needs.
    pub(crate) head: String,
    executable: PathBuf,
    /// The package's, in which cargo would run it.
    directory: PathBuf,
}

impl Program {
    pub(crate) fn command(&self) -> Command {
        let mut c = shell::command(self.executable.clone());
        c.current_dir(&self.directory).env("CARGO_MANIFEST_DIR", &self.directory);
        c
    }
}

/// Builds all of them, and the programs that they start. Empty if something does not build; cargo has said what.
pub(crate) fn build(selection: &[&str]) -> Result<Vec<Program>> {
    let mut c = shell::cargo();
    c.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]).args(selection);
    let mut child = c.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", shell::shown(&c)))?;
    let out = child.stdout.take().context("no output to read")?;
    let packages = house::metadata()?.packages;
    let mut programs = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(out)) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let Some(executable) = artifact.executable.filter(|_| artifact.profile.test) else { continue };
        let package = packages.iter().find(|p| p.id == artifact.package_id).context("an artifact of no package")?;
        let source = &artifact.target.src_path;
        let text = std::fs::read_to_string(source).with_context(|| format!("cannot read {source}"))?;
        let directory = package.manifest_path.parent().context("a manifest without a directory")?;
        programs.push(Program {
            package: package.name.to_string(),
            name: artifact.target.name,
            is_suite: artifact.target.kind.contains(&TargetKind::Test),
            head: text.lines().next().unwrap_or_default().to_lowercase(),
            executable: executable.into(),
            directory: directory.into(),
        });
    }
    if !child.wait()?.success() {
        programs.clear();
    }
    Ok(programs)
}
