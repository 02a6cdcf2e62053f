//! `/files/...`: a directory on the disk, served by [`stagedoor_actors::files`].
//!
//! The content is embedded and unpacked once into the state directory, under a name made of its digest, so that
//! another version of it never mixes with this one. What is there already is served as it is.
//!
//! Invariant: the directory appears whole, by one rename; processes that start together share it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use stagedoor_actors::files::Directory;

use crate::hex::hex;

/// Where the demo has them.
pub(super) const MOUNT: &str = "/files";

/// Every file gets this time, 14 November 2023, so that validators do not depend on the start.
const MODIFIED: Duration = Duration::from_secs(1_700_000_000);

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("files/", $name)).as_slice())),*] };
}

/// Names and octets. The compressed siblings are made by hand: `brotli -q 11`, `gzip -9n`, `zstd -19`.
static CONTENT: [(&str, &[u8]); 16] = embedded![
    "door.svg",
    "door.svg.br",
    "door.svg.gz",
    "door.svg.zst",
    "index.html",
    "index.html.br",
    "index.html.gz",
    "index.html.zst",
    "play.txt",
    "play.txt.br",
    "play.txt.gz",
    "play.txt.zst",
    "style.css",
    "style.css.br",
    "style.css.gz",
    "style.css.zst",
];

/// The directory under `state_dir`, unpacked where it is not there yet.
///
/// # Errors
/// What the system says when a file cannot be written.
pub fn unpack(state_dir: &Path) -> io::Result<Directory> {
    let place = place(state_dir);
    if !place.is_dir() {
        let parent = place.parent().unwrap_or(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let number = TRIES.fetch_add(1, Ordering::Relaxed);
        let fresh = parent.join(format!(".files-{}-{number}.new", std::process::id()));
        remove(&fresh)?;
        let filled = fill(&fresh).and_then(|()| fs::rename(&fresh, &place));
        // Another process may have been faster: then ours is not needed.
        if let Err(error) = filled {
            let _ = remove(&fresh);
            if !place.is_dir() {
                return Err(error);
            }
        }
    }
    Ok(Directory::open(place)?.mount(MOUNT).cache_control("no-cache"))
}

fn place(state_dir: &Path) -> PathBuf {
    let mut digest = Sha256::new();
    for (name, octets) in &CONTENT {
        digest.update(name.as_bytes());
        digest.update((octets.len() as u64).to_be_bytes());
        digest.update(octets);
    }
    let digest = hex(&digest.finalize());
    state_dir.join("demo").join(format!("files-{}", digest.get(..16).unwrap_or_default()))
}

fn fill(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (name, octets) in &CONTENT {
        let mut file = File::create_new(directory.join(name))?;
        file.write_all(octets)?;
        file.set_modified(SystemTime::UNIX_EPOCH + MODIFIED)?;
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_unpacked_once_and_whole() {
        let state = tempfile::tempdir().unwrap();
        unpack(state.path()).unwrap();
        let place = place(state.path());
        assert_eq!(fs::read_dir(&place).unwrap().count(), CONTENT.len());
        assert_eq!(fs::read(place.join("door.svg")).unwrap(), CONTENT[0].1);
        // What is there is left alone.
        fs::write(place.join("door.svg"), "mine").unwrap();
        unpack(state.path()).unwrap();
        assert_eq!(fs::read_to_string(place.join("door.svg")).unwrap(), "mine");
        let beside: Vec<_> = fs::read_dir(state.path().join("demo")).unwrap().flatten().collect();
        assert_eq!(beside.len(), 1, "nothing half done is left");
    }

    #[test]
    fn those_who_start_together_share_it() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| unpack(state.path()).unwrap());
            }
        });
        assert_eq!(fs::read_dir(place(state.path())).unwrap().count(), CONTENT.len());
    }

    #[test]
    fn every_file_has_its_siblings_and_they_are_smaller() {
        for (name, octets) in &CONTENT {
            assert!(octets.len() < 20_000 && !octets.is_empty(), "{name}");
            let of = |suffix: &str| CONTENT.iter().find(|(other, _)| *other == format!("{name}{suffix}"));
            if !name.ends_with(".br") && !name.ends_with(".gz") && !name.ends_with(".zst") {
                for suffix in [".br", ".gz", ".zst"] {
                    assert!(of(suffix).unwrap().1.len() < octets.len(), "{name}{suffix}");
                }
            }
        }
    }
}
