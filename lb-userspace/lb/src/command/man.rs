//! `lb man`: the manual page.

use clap::CommandFactory as _;

use crate::cli::{Cli, Global};
use crate::exit::{Failure, Outcome};
use crate::print;

#[derive(serde::Serialize)]
struct Page {
    roff: String,
}

pub(crate) fn man(global: &Global) -> Outcome {
    let roff = page().map_err(Failure::refused)?;
    print::either(global.json, &Page { roff }, |p| p.roff.clone())
}

/// The command, then every command of it in turn: one page that holds all.
fn page() -> std::io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let mut out = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).section("8");
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    commands(&command, "lb", &mut out)?;
    man.render_extra_section(&mut out)?;
    man.render_version_section(&mut out)?;
    String::from_utf8(out).map_err(std::io::Error::other)
}

fn commands(command: &clap::Command, path: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write as _;
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(out, ".SH \"{}\"\n{about}.", path.to_uppercase())?;
        let own = sub.get_arguments().filter(|a| !a.is_hide_set() && !a.is_global_set());
        for arg in own.filter(|a| a.get_id() != "help") {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            // A leading dash is a minus, not a hyphen, so that it can be searched for and copied.
            writeln!(out, ".TP\n\\fB{}\\fR\n{help}", arg.to_string().replace('-', "\\-"))?;
        }
        commands(sub, &path, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_command() {
        let page = super::page().expect("a page");
        for title in [".TH lb 8", ".SH \"LB RUN\"", ".SH \"LB BACKEND DRAIN\"", ".SH \"LB DOCTOR\""] {
            assert!(page.contains(title), "{title}");
        }
        assert!(page.contains("\\-\\-timeout"));
    }
}
