//! Where what a command writes goes, the body of `get` above all: stdout, a file, or something that is there already and
//! no file (a device, a pipe).
//!
//! Octets are written by a thread of their own, so a slow reader stops the peer by its window and not our session.
//! Invariant: a file has its final name only when it is whole; until then, and after a failure, what was there stays.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;
use tokio::sync::{mpsc, oneshot};

use crate::failure::{Exit, Failure};

/// Pieces that may wait for the writer.
const QUEUE: usize = 16;

/// What became of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// They will be written.
    Taken,
    /// Whoever read our stdout has gone; that is no failure.
    NobodyReads,
}

/// See the module.
pub(crate) struct Output {
    place: Place,
    octets: Option<mpsc::Sender<Bytes>>,
    done: oneshot::Receiver<io::Result<()>>,
}

enum Place {
    Stdout,
    /// A device or a pipe: written as it is.
    Special(PathBuf),
    /// Named when it is whole.
    File {
        path: PathBuf,
        part: Option<TempPath>,
    },
}

impl Output {
    /// Opens the place; `None` and `-` are stdout.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let path = match path {
            None => return Ok(Self::start(Place::Stdout, io::stdout())),
            Some(path) if path.as_os_str() == "-" => return Ok(Self::start(Place::Stdout, io::stdout())),
            Some(path) => path,
        };
        let failed =
            |error: io::Error| Failure::new(Exit::Input, format!("cannot write {}: {error}", path.display()));
        let there = fs::metadata(path);
        if let Ok(there) = &there {
            if there.is_dir() {
                return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
            }
            if !there.is_file() {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                return Ok(Self::start(Place::Special(path.to_owned()), file));
            }
        }
        // What a link points to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let mode = there.map_or(0o666, |there| there.permissions().mode() & 0o777);
        let (file, part) = tempfile::Builder::new()
            .prefix(".stagedoor-get-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(dir)
            .map_err(failed)?
            .into_parts();
        Ok(Self::start(Place::File { path, part: Some(part) }, file))
    }

    fn start(place: Place, sink: impl Write + Send + 'static) -> Self {
        let (octets, queue) = mpsc::channel(QUEUE);
        let (tell, done) = oneshot::channel();
        // Not a task of the runtime: the process may end while a reader of stdout keeps this waiting.
        std::thread::spawn(move || {
            let _ = tell.send(write(queue, sink));
        });
        Self { place, octets: Some(octets), done }
    }

    /// The body is shown to a person.
    pub(crate) fn is_terminal(&self) -> bool {
        match &self.place {
            Place::Stdout => io::stdout().is_terminal(),
            Place::Special(path) => File::open(path).is_ok_and(|file| file.is_terminal()),
            Place::File { .. } => false,
        }
    }

    /// Writes octets; waits while the place takes none.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<Written, Failure> {
        if let Some(octets) = &self.octets
            && octets.send(chunk).await.is_ok()
        {
            return Ok(Written::Taken);
        }
        self.settled().await
    }

    /// Waits until everything is written, and gives a file its name.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        if self.settled().await? == Written::NobodyReads {
            return Ok(());
        }
        if let Place::File { path, part } = &mut self.place
            && let Some(part) = part.take()
        {
            part.persist(&*path).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot write {}: {}", path.display(), error.error))
            })?;
        }
        Ok(())
    }

    /// What is told of a file that will not be there.
    pub(crate) fn abandoned(&self) -> Option<String> {
        match &self.place {
            Place::Stdout | Place::Special(_) => None,
            Place::File { path, .. } => Some(format!("{} was not written", path.display())),
        }
    }

    /// How the writer ended.
    async fn settled(&mut self) -> Result<Written, Failure> {
        self.octets = None;
        let name = match &self.place {
            Place::Stdout => "stdout".to_owned(),
            Place::Special(path) | Place::File { path, .. } => path.display().to_string(),
        };
        match (&mut self.done).await {
            Ok(Ok(())) => Ok(Written::Taken),
            Ok(Err(error))
                if error.kind() == io::ErrorKind::BrokenPipe && !matches!(self.place, Place::File { .. }) =>
            {
                Ok(Written::NobodyReads)
            }
            Ok(Err(error)) => Err(Failure::new(Exit::Input, format!("cannot write {name}: {error}"))),
            Err(_) => Err(Failure::new(Exit::Bug, format!("the writer of {name} is gone"))),
        }
    }
}

fn write(mut queue: mpsc::Receiver<Bytes>, mut sink: impl Write) -> io::Result<()> {
    while let Some(chunk) = queue.blocking_recv() {
        sink.write_all(&chunk)?;
        if queue.is_empty() {
            // Events that come one by one are seen one by one.
            sink.flush()?;
        }
    }
    sink.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        run(async {
            let mut output = Output::open(Some(&path)).unwrap();
            assert_eq!(output.write(Bytes::from_static(b"whole")).await.unwrap(), Written::Taken);
            assert!(!path.exists());
            output.finish().await.unwrap();
        });
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(entries(dir.path()), 1);
    }

    #[test]
    fn what_was_there_stays_when_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        run(async {
            let mut output = Output::open(Some(&path)).unwrap();
            output.write(Bytes::from_static(b"half")).await.unwrap();
            assert!(output.abandoned().unwrap().contains("was not written"));
        });
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(entries(dir.path()), 1);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_link_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        run(async {
            let mut output = Output::open(Some(&link)).unwrap();
            output.write(Bytes::from_static(b"after")).await.unwrap();
            output.finish().await.unwrap();
        });
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn devices_are_written_as_they_are_and_directories_refused() {
        run(async {
            let mut output = Output::open(Some(Path::new("/dev/null"))).unwrap();
            output.write(Bytes::from_static(b"gone")).await.unwrap();
            output.finish().await.unwrap();
        });
        assert!(Path::new("/dev/null").exists());
        let dir = tempfile::tempdir().unwrap();
        let failure = Output::open(Some(dir.path())).err().unwrap();
        assert!(failure.to_string().contains("it is a directory"), "{failure}");
        let failure = Output::open(Some(&dir.path().join("no/where"))).err().unwrap();
        assert_eq!(failure.exit, Exit::Input);
        assert!(failure.to_string().contains("no/where"), "{failure}");
    }
}
