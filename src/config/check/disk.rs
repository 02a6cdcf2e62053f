//! Files that the configuration names: they are there, and ours to read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;

use super::super::at::At;
use super::super::diagnostic::Code;
use super::super::problem::Problem;
use super::super::word::FilePath;
use super::Check;

/// Octets of a file of ours; more is not what was meant.
const MOST: u64 = 4 << 20;

impl Check<'_> {
    /// Where a path leads.
    pub(super) fn path(&self, path: &FilePath) -> PathBuf {
        self.dir.join(&path.0)
    }

    /// What is in a file; says what keeps it from being read.
    pub(super) fn read_file(&mut self, whose: &str, path: &At<FilePath>) -> Option<Vec<u8>> {
        let place = self.path(path);
        self.files.push(place.clone());
        let octets = match regular(&place) {
            Ok(octets) => octets,
            Err(error) => {
                self.missing_file(whose, "a file that cannot be read", path, &error);
                return None;
            }
        };
        if octets.len() as u64 > MOST {
            let problem = Problem::new(Code::BadFile, "", "4 MiB at most");
            self.error(&path.span, format!("{whose} names a file that is too large"), problem);
            return None;
        }
        Some(octets)
    }

    /// A directory that must be there.
    pub(super) fn directory(&mut self, whose: &str, path: &At<FilePath>) {
        let place = self.path(path);
        let found = fs::metadata(&place).and_then(|found| match found.is_dir() {
            true => fs::read_dir(&place).map(drop),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        if let Err(error) = found {
            self.missing_file(whose, "a directory that cannot be read", path, &error);
        }
    }

    /// The directory of a file that is ours to make.
    pub(super) fn directory_of(&mut self, whose: &str, path: &At<FilePath>) {
        let place = self.path(path);
        let found = match place.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => {
                place.parent().map_or(Ok(()), |above| match above.as_os_str().is_empty() || above.is_dir() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::NotFound.into()),
                })
            }
        };
        if let Err(error) = found {
            self.missing_file(whose, "a file that cannot be made", path, &error);
        }
    }

    fn missing_file(&mut self, whose: &str, what: &str, path: &At<FilePath>, error: &io::Error) {
        let label = match error.kind() {
            io::ErrorKind::NotFound => "not there".to_owned(),
            io::ErrorKind::PermissionDenied => "not ours to read".to_owned(),
            io::ErrorKind::IsADirectory => "this is a directory".to_owned(),
            io::ErrorKind::NotADirectory => "this is no directory".to_owned(),
            io::ErrorKind::InvalidInput => "this is no file".to_owned(),
            _ => error.to_string(),
        };
        let mut problem = Problem::new(Code::MissingFile, "", label);
        if !path.0.starts_with('/') {
            problem = problem.help("a relative path begins where the configuration is");
        }
        self.error(&path.span, format!("{whose} names {what}"), problem);
    }
}

/// The content of a regular file. A pipe or a device would be waited for.
fn regular(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut octets = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut octets)?;
    Ok(octets)
}
