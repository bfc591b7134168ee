//! The door: a file or a text in, the desired state or everything that is wrong out.

use std::io::Read as _;
use std::path::Path;

use lb_model::Desired;

use crate::diagnostic::{Diagnostic, Severity};
use crate::environment::Environment;
use crate::report::Report;
use crate::source::Source;
use crate::{check, read, syntax, table};

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub desired: Desired,
    pub warnings: Vec<Diagnostic>,
}

/// No file that a person wrote is as long.
const LONGEST: u64 = 64 << 20;

/// Reads and checks a file, and whether those that it names can be read, with the defaults of this process's
/// [`Environment`]. Relative paths in it become absolute: they begin at the file's directory, wherever that is seen from.
///
/// # Errors
/// Everything wrong with it, in the order of the file.
pub fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let text = text_of(path).map_err(|why| vec![unreadable(&file, "", 0, why)])?;
    match String::from_utf8(text) {
        Ok(text) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            parsed(&text, &file, directory(&absolute), &Environment::of_process(), true)
        }
        Err(e) => {
            let good = e.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(e.as_bytes());
            Err(vec![unreadable(&file, &text, good, "the file is not UTF-8 text from here on".to_owned())])
        }
    }
}

fn text_of(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("cannot read the file: {e}");
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST { Err("the file is longer than 64 MiB".to_owned()) } else { Ok(text) }
}

fn unreadable(file: &str, text: &str, at: usize, why: String) -> Diagnostic {
    Diagnostic::new(&Source::new(file, text), Severity::Error, &(at..at), why)
}

/// Checks a text, but for the files that it names, which need not be there; `file` is what messages call it, and
/// relative paths in it are relative to that file's directory.
///
/// # Errors
/// Everything wrong with it, in the order of the text.
pub fn parse(text: &str, file: &str) -> Result<Loaded, Vec<Diagnostic>> {
    parse_in(text, file, &Environment::of_process())
}

/// The same with the defaults of a given environment: a pure function.
///
/// # Errors
/// Everything wrong with the text, in its order.
pub fn parse_in(text: &str, file: &str, environment: &Environment) -> Result<Loaded, Vec<Diagnostic>> {
    parsed(text, file, directory(Path::new(file)), environment, false)
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// `on_disk`: looks at the files that the text names, too.
fn parsed(
    text: &str,
    file: &str,
    directory: &Path,
    environment: &Environment,
    on_disk: bool,
) -> Result<Loaded, Vec<Diagnostic>> {
    let source = Source::new(file, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut report = Report::new(&source);
    let (document, broken_lines) = syntax::parse(&mut report);
    let mut meaning = Report::new(&source);
    meaning.partial = report.partial;
    let root = table::root(document.get_ref(), &mut meaning);
    let draft = read::draft(&root, directory, environment, &mut meaning);
    if !meaning.partial {
        check::whole(&draft, &mut meaning);
        if on_disk {
            check::files::check(&draft, &mut meaning);
        }
    }
    // Where the TOML is broken, what seems to be written there is a guess.
    report.absorb(meaning, &broken_lines);
    let failed = report.failed();
    let (errors, warnings) = report.finish();
    if failed { Err(errors) } else { Ok(Loaded { desired: draft.into_desired(), warnings }) }
}
