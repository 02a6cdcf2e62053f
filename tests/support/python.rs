//! Python with packages of PyPI, each set in a virtual environment of its own below the target directory. It is made once,
//! by pip and the index that is configured for it; a machine that can have none is a machine without the program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::peers::{absent, find};

/// The interpreter of the environment `name`, which has these packages (`name==version`); none, loudly, where it cannot
/// be made.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let system = find("python3")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    fs::create_dir_all(&folder).expect("a folder");
    // Tests, and test programs, may want it at once: one makes it, the others wait.
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("a file");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    let place = folder.join(name);
    let (python, stamp) = (place.join("bin/python"), place.join("packages"));
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && runs(&python, &["-c", ""]).is_ok() {
        return Some(python);
    }
    let _ = fs::remove_dir_all(&place);
    let made = runs(&system, &["-m", "venv", place.to_str().expect("text")]).and_then(|()| {
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        runs(&python, &[&install[..], packages].concat())
    });
    if let Err(said) = made {
        eprintln!("{said}");
        absent(&format!("Python with {}", packages.join(", ")));
        return None;
    }
    fs::write(&stamp, wanted).expect("a file");
    Some(python)
}

fn runs(program: &Path, args: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(args).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("{}: {error}", program.display()))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(format!("{} {args:?}: {}\n{said}", program.display(), ran.status))
}
