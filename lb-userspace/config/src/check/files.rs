//! Files and folders that the configuration names: whether they can be read. Not part of the pure checks.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;

use crate::read::{Draft, NamedFile};
use crate::report::{Problem, Report};

pub(crate) fn check(draft: &Draft, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for file in &draft.files {
        if let Err(why) = look(file)
            && seen.insert(file.span.start)
        {
            let what = if file.folder { "folder" } else { "file" };
            let problem = Problem::new(format!("the {what} {} cannot be read: {why}", file.path.display()));
            let relative = "relative paths begin at the configuration file's directory";
            report.error(file.span.clone(), problem.hint(relative));
        }
    }
}

fn look(file: &NamedFile) -> Result<(), String> {
    let words = |e: std::io::Error| e.to_string();
    if file.folder {
        return fs::read_dir(&file.path).map(drop).map_err(words);
    }
    // Before it is opened: a pipe would be waited for.
    if !fs::metadata(&file.path).map_err(words)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    fs::File::open(&file.path).and_then(|mut f| f.read(&mut [0])).map(drop).map_err(words)
}
