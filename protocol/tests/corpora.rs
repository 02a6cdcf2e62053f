//! Every file of the fuzz corpora as an ordinary test, on stable and without libFuzzer.
#![allow(unreachable_pub, dead_code, reason = "the modules are those of the fuzz targets")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../fuzz/src/connection.rs"]
mod connection;
#[path = "../../fuzz/src/frames.rs"]
mod frames;
#[path = "../../fuzz/src/hpack.rs"]
mod hpack;
#[path = "../../fuzz/src/inflate.rs"]
mod inflate;
#[path = "../../fuzz/src/operations.rs"]
mod operations;

use std::fs;
use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 12, "{} has {} inputs", corpus.display(), inputs.len());
    for input in inputs {
        println!("{}", input.display());
        target(&fs::read(&input).unwrap());
    }
}

#[test]
fn frames_corpus() {
    replay("frames", frames::frames);
}

#[test]
fn connection_corpus() {
    replay("connection", connection::connection);
}

#[test]
fn hpack_corpus() {
    replay("hpack", hpack::hpack);
}

#[test]
fn inflate_corpus() {
    replay("inflate", inflate::inflate);
}

#[test]
fn operations_corpus() {
    replay("operations", operations::operations);
}
