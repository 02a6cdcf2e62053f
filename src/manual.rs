//! `completions` and `man`: what is generated from the command line itself, and so cannot lag behind it.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::failure::{Exit, Failure};

const NAME: &str = "stagedoor";

/// The command line.
fn line() -> clap::Command {
    <Cli as CommandFactory>::command()
}

/// `stagedoor completions`.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut line(), NAME, &mut script);
    to_stdout(&script)
}

/// `stagedoor man`.
pub(crate) fn run(args: &ManArgs) -> Result<(), Failure> {
    match &args.dir {
        Some(dir) => pages(dir),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(line()).render(&mut page).map_err(|error| unwritable("stdout", &error))?;
            to_stdout(&page)
        }
    }
}

/// One page of the command itself and one of each of its commands.
fn pages(dir: &Path) -> Result<(), Failure> {
    let failed = |error| unwritable(&dir.display().to_string(), &error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(line(), dir).map_err(failed)
}

fn unwritable(place: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Reach, format!("cannot write {place}: {error}"))
}

/// A reader who has enough is no failure.
fn to_stdout(octets: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(octets).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable("stdout", &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_fit_to_be_generated_from() {
        line().debug_assert();
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("man/man1");
        pages(&inside).unwrap();
        for command in line().get_subcommands() {
            let page =
                std::fs::read_to_string(inside.join(format!("stagedoor-{}.1", command.get_name()))).unwrap();
            assert!(page.contains(".SH NAME"), "{}", command.get_name());
        }
        assert!(std::fs::read_to_string(inside.join("stagedoor.1")).unwrap().contains("HTTP/2 gateway"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(pages(&file).unwrap_err().exit, Exit::Reach);
    }
}
