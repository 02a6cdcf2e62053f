//! Writes the folder. A file that is there and says something else is somebody's work: it stays unless `--force`.

use std::io::ErrorKind;
use std::path::Path;

use super::{Output, outputs};
use crate::cli::DashboardsArgs;
use crate::failure::{Exit, Failure};
use crate::say::say;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Same,
    Other,
}

/// Writes every file below the directory, or none when one would be lost.
///
/// # Errors
/// Files that were changed, without `--force`; a place that cannot be read or written.
pub(crate) fn run(args: &DashboardsArgs) -> Result<(), Failure> {
    let dir = &args.dir;
    let mut wanted = Vec::new();
    let mut changed = Vec::new();
    for output in outputs() {
        match look(dir, &output)? {
            There::Same => {}
            There::Other if !args.force => changed.push(output.path),
            There::Other | There::Nothing => wanted.push(output),
        }
    }
    if !changed.is_empty() {
        let message = format!("{} has files that say something else: {}", dir.display(), changed.join(", "));
        return Err(Failure::new(Exit::Input, message)
            .with_way_out("--force writes over them; another directory leaves them alone"));
    }
    for output in &wanted {
        write(dir, output)?;
    }
    say(match wanted.len() {
        0 => format!("{}: all files are there already", dir.display()),
        1 => format!("{}: 1 file written", dir.display()),
        count => format!("{}: {count} files written; README.md says how to use them", dir.display()),
    });
    Ok(())
}

fn look(dir: &Path, output: &Output) -> Result<There, Failure> {
    let file = dir.join(&output.path);
    match std::fs::read(&file) {
        Ok(text) if text == output.text.as_bytes() => Ok(There::Same),
        Ok(_) => Ok(There::Other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(unusable(&file, "read", &error)),
    }
}

fn write(dir: &Path, output: &Output) -> Result<(), Failure> {
    let file = dir.join(&output.path);
    let folder = file.parent().unwrap_or(dir);
    std::fs::create_dir_all(folder).map_err(|error| unusable(folder, "made", &error))?;
    std::fs::write(&file, &*output.text).map_err(|error| unusable(&file, "written", &error))
}

fn unusable(place: &Path, verb: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Reach, format!("{} cannot be {verb}: {error}", place.display()))
        .with_way_out("name a directory that may be written")
}
