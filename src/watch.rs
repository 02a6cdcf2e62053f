//! Files that change under us: configuration, certificates, authorities.
//!
//! The directories that lead to a file are watched, not the file: editors and Kubernetes replace files by rename, the
//! latter by a link in the middle (`tls.crt` -> `..data/tls.crt`, `..data` -> `..2024_11_30`). After each event the links
//! are followed anew. What counts is content: whatever the kernel says or forgets to say, a file has changed when its
//! SHA-256 has. Every minute all are compared, so that a full queue, a limit of inotify or a file system without it
//! delays the news and does not lose it.
//!
//! Understands no file and loads nothing. Invariant: [`Watcher::changed`] names a path once for each change of its
//! content that was seen, and none that did not change.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// How long it is quiet before files are looked at, unless told otherwise.
const SETTLE: Duration = Duration::from_millis(200);
/// How often files are looked at without an event, unless told otherwise.
const EVERY: Duration = Duration::from_secs(60);
/// Files are looked at after so many times [`SETTLE`], quiet or not.
const PATIENCE: u32 = 10;
/// Links on the way to a file, as the kernel has it (ELOOP).
const LINKS: usize = 40;

/// Tells which of some files changed. One thread of `notify`'s, which ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    woken: Arc<Notify>,
    settle: Duration,
    every: Duration,
    /// When files are looked at next, and whether something happened that asks for it.
    next: Instant,
    asked: bool,
    /// They are being looked at.
    looking: Option<JoinHandle<()>>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    files: Vec<(PathBuf, Option<Content>)>,
    /// Found and not told yet.
    changed: Vec<PathBuf>,
    kernel: Kernel,
}

/// SHA-256; of a file that cannot be read there is none.
type Content = [u8; 32];

/// The kernel's part.
#[derive(Debug, Default)]
struct Kernel {
    inotify: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    /// Files and links whose change may matter; shared with notify's thread.
    names: Arc<Mutex<HashSet<PathBuf>>>,
    /// It was told that events do not come.
    complained: bool,
}

impl Watcher {
    /// Watches `paths`, which need not exist. What they hold now is what changes are measured against: reads each.
    /// Where the kernel refuses, the log says so, and files are compared by the clock alone.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let woken = Arc::new(Notify::new());
        let kernel = Kernel::new(Arc::clone(&woken));
        Self::over(kernel, woken, paths)
    }

    fn over(kernel: Kernel, woken: Arc<Notify>, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { kernel, ..Seen::default() }));
        let next = Instant::now() + EVERY;
        let mut watcher =
            Self { seen, woken, settle: SETTLE, every: EVERY, next, asked: false, looking: None };
        watcher.set_paths(paths);
        watcher
    }

    /// How long it is quiet before files are looked at (200 ms), so that a burst of events is one change. Ten times that
    /// is the longest, quiet or not.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// How often files are looked at though nothing happened (a minute).
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self.next = Instant::now() + every;
        self
    }

    /// Watches these from now on. A file that was watched before is still measured against what it held; reads the
    /// others.
    pub fn set_paths(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut guard = lock(&self.seen);
        let seen = &mut *guard;
        let wanted: BTreeSet<_> = paths.into_iter().collect();
        // Watched first, read then: what happens in between is told.
        seen.kernel.follow(wanted.iter());
        let before: Vec<_> = std::mem::take(&mut seen.files);
        seen.changed.retain(|path| wanted.contains(path));
        let keep = |path: PathBuf| match before.iter().find(|(known, _)| *known == path) {
            Some((_, content)) => (path, *content),
            None => {
                let content = content(&path).ok();
                (path, content)
            }
        };
        seen.files = wanted.into_iter().map(keep).collect();
    }

    /// Waits until the content of some of the files is another than it was, and says of which: at least one. A file that
    /// is gone, or cannot be read any more, has changed too. May be dropped and called again: nothing is lost.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            if !self.asked {
                tokio::select! {
                    () = self.woken.notified() => {
                        self.asked = true;
                        self.next = Instant::now() + self.settle;
                    }
                    () = sleep_until(self.next) => self.asked = true,
                }
            }
            if self.looking.is_none() {
                self.settled().await;
                let seen = Arc::clone(&self.seen);
                // Files are read: not on an arbiter.
                self.looking = Some(tokio::task::spawn_blocking(move || look(&seen)));
            }
            // It stays until the answer is here, whoever stops waiting for it.
            let looked = match &mut self.looking {
                Some(looking) => looking.await,
                None => Ok(()),
            };
            self.looking = None;
            let changed = match looked {
                Ok(()) => std::mem::take(&mut lock(&self.seen).changed),
                // A runtime that ends: nobody hears the answer.
                Err(_) => Vec::new(),
            };
            self.asked = false;
            self.next = Instant::now() + self.every;
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Waits until `next`, and on while things happen.
    async fn settled(&mut self) {
        let patience = Instant::now() + self.settle * PATIENCE;
        loop {
            tokio::select! {
                () = sleep_until(self.next) => return,
                () = self.woken.notified() => self.next = (Instant::now() + self.settle).min(patience),
            }
        }
    }
}

/// Compares every file with what it held, and follows the links anew.
fn look(seen: &Mutex<Seen>) {
    let mut guard = lock(seen);
    let seen = &mut *guard;
    seen.kernel.follow(seen.files.iter().map(|(path, _)| path));
    for (path, known) in &mut seen.files {
        let content = content(path).ok();
        if *known != content {
            *known = content;
            if !seen.changed.contains(path) {
                seen.changed.push(path.clone());
            }
        }
    }
}

impl Kernel {
    fn new(woken: Arc<Notify>) -> Self {
        let names = Arc::new(Mutex::new(HashSet::new()));
        let of_thread = Arc::clone(&names);
        let told = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| matters(&event, &lock(&of_thread))) {
                woken.notify_one();
            }
        };
        let mut kernel = Self { names, ..Self::default() };
        match notify::recommended_watcher(told) {
            Ok(inotify) => kernel.inotify = Some(inotify),
            Err(error) => kernel.complain(&error),
        }
        kernel
    }

    /// Watches what leads to `paths` and nothing else.
    fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        let Some(mut inotify) = self.inotify.take() else {
            return;
        };
        let mut names = HashSet::new();
        for path in paths {
            way(path, &mut names);
        }
        let directories: BTreeSet<_> =
            names.iter().filter_map(|name| name.parent()).map(Path::to_owned).collect();
        names.extend(directories.iter().cloned());
        *lock(&self.names) = names;
        for directory in &directories {
            // Again where it was watched: another directory may have its name by now.
            match inotify.watch(directory, RecursiveMode::NonRecursive) {
                Err(error) if !is_missing(&error) => self.complain(&error),
                _ => {}
            }
        }
        for directory in self.directories.difference(&directories) {
            // It fails where the directory is gone, and with it what watched it.
            drop(inotify.unwatch(directory));
        }
        self.directories = directories;
        self.inotify = Some(inotify);
    }

    fn complain(&mut self, error: &notify::Error) {
        if !self.complained {
            self.complained = true;
            warn!(%error, "the kernel does not tell when files change; they are compared now and then");
        }
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Whether files are to be looked at: not because somebody, ourselves above all, opened one.
fn matters(event: &Event, names: &HashSet<PathBuf>) -> bool {
    let read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    // Without a path: the queue was full, and nobody knows what happened.
    !read && (event.paths.is_empty() || event.paths.iter().any(|path| names.contains(path)))
}

/// Every link on the way to `path`, and where it ends: the file, or the first part that is missing.
fn way(path: &Path, names: &mut HashSet<PathBuf>) {
    let Ok(absolute) = std::path::absolute(path) else {
        return;
    };
    let mut links = 0;
    let mut at = PathBuf::new();
    // What is left to walk, the next part last.
    let mut rest: Vec<_> = parts(&absolute).rev().collect();
    while let Some(part) = rest.pop() {
        match part.as_path() {
            part if part == Path::new("..") => {
                at.pop();
                continue;
            }
            part => at.push(part),
        }
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_symlink() => {
                names.insert(at.clone());
                links += 1;
                let Ok(target) = fs::read_link(&at) else {
                    return;
                };
                if links > LINKS {
                    return;
                }
                at.pop();
                rest.extend(parts(&target).rev());
            }
            Ok(_) if !rest.is_empty() => {}
            _ => {
                names.insert(at);
                return;
            }
        }
    }
}

/// The parts of a path that lead somewhere; pushing the root goes back to it.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    let leads = |part: &Component<'_>| !matches!(part, Component::CurDir);
    path.components().filter(leads).map(|part| PathBuf::from(part.as_os_str()))
}

/// What a file holds. Directories, pipes and devices hold nothing.
fn content(path: &Path) -> io::Result<Content> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 16 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(length) => digest.update(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
