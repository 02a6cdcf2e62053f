//! `stagedoor dashboards DIR`: the folder `grafana/` anywhere, and nobody's changes lost.

use std::path::{Path, PathBuf};

use crate::support::command::{Ran, stagedoor};

fn dashboards(dir: &Path, flags: &[&str]) -> Ran {
    let state = tempfile::tempdir().unwrap();
    let args = [&["dashboards", dir.to_str().unwrap()], flags].concat();
    stagedoor(state.path(), &args)
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut places = vec![folder.to_owned()];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn it_writes_the_committed_folder() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("a/b");
    let ran = dashboards(&dir, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("files written"), "{}", ran.err);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    assert!(files(&dir) == files(&committed), "not the committed folder");
    let again = dashboards(&dir, &[]);
    assert_eq!((again.code, again.err.contains("there already")), (Some(0), true), "{again:?}");
}

#[test]
fn a_changed_file_is_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(dashboards(dir.path(), &[]).code, Some(0));
    let [changed, lost] = ["alerts/stagedoor.alerts.yml", "prometheus.yml"].map(|file| dir.path().join(file));
    std::fs::write(&changed, "mine").unwrap();
    std::fs::remove_file(&lost).unwrap();
    let ran = dashboards(dir.path(), &[]);
    ran.failed_with(1, "say something else: alerts/stagedoor.alerts.yml\n");
    ran.failed_with(1, "--force");
    assert!(!lost.exists(), "all or nothing");
    assert_eq!(std::fs::read_to_string(&changed).unwrap(), "mine");
    let forced = dashboards(dir.path(), &["--force"]);
    assert_eq!((forced.code, forced.err.contains("2 files written")), (Some(0), true), "{forced:?}");
    assert!(lost.exists() && std::fs::read_to_string(&changed).unwrap() != "mine");
}

#[test]
fn a_place_that_cannot_be_a_directory_is_told() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    dashboards(&file, &[]).failed_with(3, "cannot be read");
    dashboards(&file.join("below"), &["--force"]).failed_with(3, "name a directory that may be written");
    assert_eq!(dashboards(Path::new(""), &["--force=yes"]).code, Some(2));
}
