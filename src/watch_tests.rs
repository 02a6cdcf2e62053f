use std::os::unix::fs::symlink;

use tokio::time::timeout;

use super::*;

/// Nothing here waits for it: it turns a test that would hang into one that fails.
const HANG: Duration = Duration::from_secs(20);
/// Longer than any test: what is told was told by the kernel.
const NEVER: Duration = Duration::from_secs(3600);

fn by_events(paths: impl IntoIterator<Item = PathBuf>) -> Watcher {
    let watcher = Watcher::new(paths).settle(Duration::from_millis(5)).every(NEVER);
    assert!(!lock(&watcher.seen).kernel.complained, "no inotify here");
    watcher
}

/// As where inotify is not to be had.
fn by_the_clock(paths: impl IntoIterator<Item = PathBuf>) -> Watcher {
    let watcher = Watcher::over(Kernel::default(), Arc::default(), paths);
    watcher.settle(Duration::from_millis(1)).every(Duration::from_millis(5))
}

async fn changed(watcher: &mut Watcher) -> Vec<PathBuf> {
    timeout(HANG, watcher.changed()).await.expect("no change was seen")
}

/// Replaces `path` whole.
fn replace(path: &Path, octets: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, octets).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_or_replaced_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    fs::write(&a, "1").unwrap();
    fs::write(&b, "1").unwrap();
    for mut watcher in [by_events([a.clone(), b.clone()]), by_the_clock([a.clone(), b.clone()])] {
        fs::write(&a, "2").unwrap();
        assert_eq!(changed(&mut watcher).await, [a.as_path()]);
        // Written with what it holds, or read: nothing changed.
        fs::write(&a, "2").unwrap();
        replace(&a, "2");
        fs::read(&a).unwrap();
        replace(&b, "2");
        assert_eq!(changed(&mut watcher).await, [b.as_path()]);
        replace(&a, "1");
        replace(&b, "1");
        let mut both = changed(&mut watcher).await;
        // Two renames may be two looks.
        if both.len() == 1 {
            both.extend(changed(&mut watcher).await);
        }
        both.sort_unstable();
        assert_eq!(both, [a.clone(), b.clone()]);
    }
}

/// A volume as Kubernetes mounts it: `tls.crt` -> `..data/tls.crt`, `..data` -> `..N`.
struct Volume(PathBuf);

impl Volume {
    fn new(dir: &Path) -> Self {
        let volume = Self(dir.join("tls"));
        fs::create_dir(&volume.0).unwrap();
        volume.publish("..1", "1");
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), volume.0.join(name)).unwrap();
        }
        volume
    }

    fn files(&self) -> [PathBuf; 2] {
        ["tls.crt", "tls.key"].map(|name| self.0.join(name))
    }

    /// Writes a new directory, points a new link to it, and puts that in the place of the old one.
    fn publish(&self, version: &str, octets: &str) {
        let next = self.0.join(version);
        fs::create_dir(&next).unwrap();
        fs::write(next.join("tls.crt"), octets).unwrap();
        fs::write(next.join("tls.key"), octets).unwrap();
        symlink(version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }
}

#[tokio::test]
async fn a_kubernetes_volume_that_is_swapped_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::new(dir.path());
    let mut watcher = by_events(volume.files());
    for (version, before) in [("..2", "..1"), ("..3", "..2"), ("..4", "..3")] {
        volume.publish(version, version);
        assert_eq!(changed(&mut watcher).await, volume.files(), "{version}");
        fs::remove_dir_all(volume.0.join(before)).unwrap();
    }
    // What lies behind the links is watched too, and what lay there before is not.
    fs::write(volume.0.join("..4/tls.crt"), "in place").unwrap();
    assert_eq!(changed(&mut watcher).await, volume.files()[..1]);
    let watched = lock(&watcher.seen).kernel.directories.clone();
    assert_eq!(watched, BTreeSet::from([volume.0.clone(), volume.0.join("..4")]));
}

#[tokio::test]
async fn a_file_may_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/a");
    let mut watcher = by_events([path.clone()]);
    fs::create_dir(dir.path().join("later")).unwrap();
    fs::write(&path, "1").unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
    fs::remove_file(&path).unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
    fs::write(&path, "1").unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
}

#[tokio::test]
async fn a_directory_that_takes_the_place_of_another_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let [now, old] = ["now", "old"].map(|name| dir.path().join(name));
    let path = now.join("a");
    fs::create_dir(&now).unwrap();
    fs::write(&path, "1").unwrap();
    let mut watcher = by_events([path.clone()]);
    fs::rename(&now, old).unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
    fs::create_dir(&now).unwrap();
    fs::write(&path, "2").unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
    fs::write(&path, "3").unwrap();
    assert_eq!(changed(&mut watcher).await, [path.as_path()]);
}

#[tokio::test]
async fn other_paths_are_measured_from_when_they_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    fs::write(&a, "1").unwrap();
    fs::write(&b, "1").unwrap();
    let mut watcher = by_events([a.clone()]);
    fs::write(&b, "2").unwrap();
    fs::write(&a, "2").unwrap();
    // It was watched before, so its change is still to be told.
    watcher.set_paths([a.clone(), b.clone()]);
    assert_eq!(changed(&mut watcher).await, [a.as_path()]);
    watcher.set_paths([b.clone()]);
    fs::write(&a, "3").unwrap();
    fs::write(&b, "3").unwrap();
    assert_eq!(changed(&mut watcher).await, [b]);
}

#[tokio::test]
async fn who_stops_waiting_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "1").unwrap();
    let mut watcher = by_events([path.clone()]);
    fs::write(&path, "2").unwrap();
    // Given up at every point where it may be, until the answer is there at once.
    let until = Instant::now() + HANG;
    let told = loop {
        tokio::select! {
            biased;
            told = watcher.changed() => break told,
            () = tokio::task::yield_now() => assert!(Instant::now() < until, "no change was seen"),
        }
    };
    assert_eq!(told, [path]);
}

#[test]
fn opening_a_file_is_no_change_and_neither_is_its_neighbour() {
    let names = HashSet::from([PathBuf::from("/d/a")]);
    let event = |kind, path: &str| Event::new(kind).add_path(path.into());
    let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    assert!(!matters(&event(open, "/d/a"), &names));
    assert!(matters(&event(written, "/d/a"), &names));
    assert!(!matters(&event(written, "/d/b"), &names));
    assert!(matters(&Event::new(EventKind::Other), &names));
}

#[test]
fn links_are_followed_to_their_end_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    fs::write(root.join("real/deep/file"), "").unwrap();
    symlink("real/deep", root.join("way")).unwrap();
    symlink("../../way/file", root.join("real/deep/back")).unwrap();
    symlink("round", root.join("round")).unwrap();
    let followed = |path: &str| {
        let mut names = HashSet::new();
        way(&root.join(path), &mut names);
        let mut names: Vec<_> =
            names.iter().map(|name| name.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(followed("real/deep/file"), ["real/deep/file"]);
    assert_eq!(followed("way/back"), ["real/deep/back", "real/deep/file", "way"]);
    assert_eq!(followed("way/../none/of/these"), ["real/none", "way"]);
    assert_eq!(followed("round"), ["round"]);
}

#[test]
fn what_is_no_regular_file_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    content(dir.path()).unwrap_err();
    content(Path::new("/dev/zero")).unwrap_err();
    content(Path::new("/dev/null")).unwrap_err();
}

#[test]
fn the_thread_ends_with_the_watcher() {
    let woken = Arc::new(Notify::new());
    let kernel = Kernel::new(Arc::clone(&woken));
    let ended = Arc::downgrade(&woken);
    drop((kernel, woken));
    // The thread holds the other end of the handler, and lets go of it when it returns.
    let until = std::time::Instant::now() + HANG;
    while ended.upgrade().is_some() {
        assert!(std::time::Instant::now() < until, "the thread goes on");
        std::thread::yield_now();
    }
}
