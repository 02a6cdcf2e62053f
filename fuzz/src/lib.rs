//! What the fuzz targets do, as plain functions over octets.
//!
//! `fuzz_targets/` hands each one to libFuzzer (feature `fuzzing`). An ordinary test of the workspace calls the same functions
//! with every file of `corpus/`, on stable and without libFuzzer. A function panics when its property does not hold.

use std::path::Path;
use std::{fs, io};

mod connection;
mod frames;
mod hpack;
mod inflate;
mod operations;
mod paths;
mod refusal;

pub use self::connection::connection;
pub use self::frames::frames;
pub use self::hpack::hpack;
pub use self::inflate::inflate;
pub use self::operations::operations;
pub use self::paths::paths;
pub use self::refusal::refusal;

/// One fuzz target: its name, which is that of its corpus folder too, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets there are.
pub const TARGETS: [Target; 7] = [
    ("hpack", hpack),
    ("inflate", inflate),
    ("frames", frames),
    ("connection", connection),
    ("operations", operations),
    ("refusal", refusal),
    ("paths", paths),
];

/// Runs every file of a target's corpus through it, in order of name, and returns how many there were.
///
/// # Errors
/// When a file cannot be read. A corpus that does not exist is an empty one.
///
/// # Panics
/// When an input breaks the target's property; the input's name has been printed then.
pub fn replay((name, run): Target) -> io::Result<usize> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = match fs::read_dir(&corpus) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut inputs = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    inputs.sort();
    for input in &inputs {
        eprintln!("{name}: {}", input.display());
        run(&fs::read(input)?);
    }
    Ok(inputs.len())
}
