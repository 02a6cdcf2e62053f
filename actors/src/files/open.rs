//! Opening files: what blocks and what does not, and what may be reached from a root directory.
//!
//! [`How::Cached`] asks the kernel to open from its caches alone (`RESOLVE_CACHED`), so it is done on an
//! arbiter; [`How::Blocking`] belongs on the blocking pool. Below a root nothing leads out of it
//! (`RESOLVE_BENEATH`); where the kernel has no `openat2` every symbolic link below the root is refused.
//!
//! Invariant: every open is close-on-exec and non-blocking, so a FIFO without a writer holds up nobody.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Whether an open may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It may not: [`would_block`] errors say that it would have to.
    Cached,
    /// It may.
    Blocking,
}

/// What to do about symbolic links below a root directory.
///
/// ```
/// use stagedoor_actors::files::{Directory, Symlinks};
///
/// let directory = Directory::open(".")?.symlinks(Symlinks::Refused);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Followed while they stay below the root; an absolute one never does.
    #[default]
    Within,
    /// Refused, all of them.
    Refused,
}

/// A file and what the system said of it when it was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) stat: Metadata,
}

impl Opened {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        // Of an open descriptor: the inode is in memory.
        let stat = file.metadata()?;
        Ok(Self { file, stat })
    }
}

/// Whether an error of [`How::Cached`] asks for [`How::Blocking`].
pub(super) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// The kernel knows no `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// How often a look-up that met a rename is begun anew, some milliseconds in all.
const PATIENCE: usize = 1_000;

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
}

/// Opens `path` as the process sees it.
pub(super) fn open(path: &Path, how: How) -> io::Result<Opened> {
    let fd = match how {
        How::Cached if NO_OPENAT2.load(Ordering::Relaxed) => Err(Errno::AGAIN),
        How::Cached => openat2(CWD, path, ResolveFlags::CACHED).map_err(|errno| {
            if errno == Errno::NOSYS {
                NO_OPENAT2.store(true, Ordering::Relaxed);
            }
            // Whatever is unusual is asked again where it may wait.
            if is_final(errno) { errno } else { Errno::AGAIN }
        }),
        How::Blocking => retry(|| rustix::fs::openat(CWD, path, flags(), Mode::empty())),
    };
    Opened::of(fd?)
}

/// Opens `path`, relative and without `..`, below `root`. An empty path is the root itself.
pub(super) fn open_beneath(root: &OwnedFd, path: &Path, symlinks: Symlinks, how: How) -> io::Result<Opened> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        let mut resolve = beneath(symlinks);
        if how == How::Cached {
            resolve |= ResolveFlags::CACHED;
        }
        let opened = match how {
            How::Cached => openat2(root, path, resolve),
            How::Blocking => persist(|| openat2(root, path, resolve)),
        };
        match opened {
            Ok(fd) => return Opened::of(fd),
            Err(errno) if is_missing(errno) && how == How::Blocking => {
                if errno == Errno::NOSYS {
                    NO_OPENAT2.store(true, Ordering::Relaxed);
                }
            }
            Err(errno) if how == How::Blocking || is_final(errno) => return Err(errno.into()),
            Err(_) => return Err(Errno::AGAIN.into()),
        }
    }
    match how {
        How::Cached => Err(Errno::AGAIN.into()),
        How::Blocking => Opened::of(walk(root, path)?),
    }
}

/// What lies at `path` below `root`, found as [`open_beneath`] with time would and not opened. Where the kernel has no
/// `openat2` there is nothing behind a link.
pub(super) fn look_beneath(root: &OwnedFd, path: &Path, symlinks: Symlinks) -> io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let look = || rustix::fs::openat2(root, path, flags, Mode::empty(), beneath(symlinks));
    let found = persist(|| retry(look));
    Ok(rustix::fs::fstat(found?)?)
}

fn beneath(symlinks: Symlinks) -> ResolveFlags {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match symlinks {
        Symlinks::Within => resolve,
        Symlinks::Refused => resolve | ResolveFlags::NO_SYMLINKS,
    }
}

/// Opens the directory `path` for [`open_beneath`].
pub(super) fn open_root(path: &Path, how: How) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    Ok(retry(|| match how {
        How::Cached => rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
            .map_err(|errno| if is_final(errno) { errno } else { Errno::AGAIN }),
        How::Blocking => rustix::fs::openat(CWD, path, flags, Mode::empty()),
    })?)
}

/// One component after the other, following no link: for kernels without `openat2`.
fn walk(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let names: Vec<_> = path
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::from(Errno::XDEV)),
        })
        .collect::<Result<_, _>>()?;
    let Some((last, directories)) = names.split_last() else {
        return Ok(rustix::fs::openat(root, ".", flags(), Mode::empty())?);
    };
    let mut at: Option<OwnedFd> = None;
    for name in directories {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let base = at.as_ref().unwrap_or(root).as_fd();
        let next = retry(|| rustix::fs::openat(base, *name, flags, Mode::empty()))?;
        at = Some(next);
    }
    let base = at.as_ref().unwrap_or(root).as_fd();
    Ok(retry(|| rustix::fs::openat(base, *last, flags() | OFlags::NOFOLLOW, Mode::empty()))?)
}

fn openat2(base: impl AsFd, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    retry(|| rustix::fs::openat2(base.as_fd(), path, flags(), Mode::empty(), resolve))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Asks again while the kernel is not sure: when anything was renamed anywhere since it set out, it follows no `..` of a
/// link (openat2(2), EAGAIN).
fn persist<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..PATIENCE {
        match call() {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    call()
}

/// `openat2` itself is not there, or a filter of system calls forbids it (EPERM).
fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM | Errno::INVAL)
}

/// Asking again, with time, would give the same answer.
fn is_final(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::ACCESS
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NXIO
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        std::fs::create_dir_all(at.join("root/sub")).unwrap();
        std::fs::write(at.join("secret"), "s").unwrap();
        std::fs::write(at.join("root/sub/file"), "f").unwrap();
        std::os::unix::fs::symlink("sub/file", at.join("root/inside")).unwrap();
        std::os::unix::fs::symlink("../secret", at.join("root/outside")).unwrap();
        std::os::unix::fs::symlink(at.join("root/sub/file"), at.join("root/absolute")).unwrap();
        let root = open_root(&at.join("root"), How::Blocking).unwrap();
        (dir, root)
    }

    #[test]
    fn links_that_leave_the_root_are_refused_and_others_as_asked() {
        let (_dir, root) = tree();
        let open = |name: &str, symlinks| open_beneath(&root, Path::new(name), symlinks, How::Blocking);
        assert!(open("sub/file", Symlinks::Within).is_ok());
        assert!(open("", Symlinks::Within).unwrap().stat.is_dir());
        assert!(open("inside", Symlinks::Within).is_ok());
        for name in ["outside", "absolute", "../secret"] {
            let error = open(name, Symlinks::Within).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::XDEV.raw_os_error()), "{name}");
        }
        assert!(open("inside", Symlinks::Refused).is_err());
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_dir, root) = tree();
        assert!(walk(&root, Path::new("sub/file")).is_ok());
        assert!(walk(&root, Path::new(".")).is_ok());
        for name in ["inside", "outside", "absolute", "../secret", "/etc/passwd"] {
            assert!(walk(&root, Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_cached_open_says_what_it_knows() {
        let (dir, root) = tree();
        let path = Path::new("sub/file");
        open_beneath(&root, path, Symlinks::Within, How::Blocking).unwrap();
        match open_beneath(&root, path, Symlinks::Within, How::Cached) {
            Ok(opened) => assert_eq!(opened.stat.len(), 1),
            Err(error) => assert!(would_block(&error), "{error}"),
        }
        let path = dir.path().join("root/none");
        assert_eq!(open(&path, How::Blocking).unwrap_err().kind(), io::ErrorKind::NotFound);
        let error = open(&path, How::Cached).unwrap_err();
        assert!(would_block(&error) || error.kind() == io::ErrorKind::NotFound, "{error}");
    }
}
