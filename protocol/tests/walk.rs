//! The state machine walked by random operations of both sides. What holds after each step and at the end stands with the
//! operations themselves, in `fuzz/src/operations.rs`: octets conserved, windows never over-sent, no stream forgotten,
//! nothing after the end, memory within its budget.
//!
//! Seeds are fixed. `STAGEDOOR_FUZZ_ROUNDS` asks for more rounds.
#![allow(unreachable_pub, dead_code, reason = "the modules are those of the fuzz targets")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../fuzz/src/connection.rs"]
mod connection;
#[path = "../../fuzz/src/frames.rs"]
mod frames;
#[path = "../../fuzz/src/operations.rs"]
mod operations;

fn rounds(usual: u64) -> u64 {
    std::env::var("STAGEDOOR_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// xorshift64*: a sequence that is the same everywhere.
struct Random(u64);

impl Random {
    fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(count + 8);
        while octets.len() < count {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            octets.extend_from_slice(&self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
        }
        octets.truncate(count);
        octets
    }
}

/// Runs `target` on pseudo-random inputs; the seed of one that fails is printed.
fn walk(target: fn(&[u8]), rounds: u64, length: usize) {
    for seed in 1..=rounds {
        let octets = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).octets(length);
        if let Err(panic) = std::panic::catch_unwind(|| target(&octets)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn short_walks_keep_every_promise() {
    walk(operations::operations, rounds(3_000), 150);
}

#[test]
fn long_walks_keep_every_promise() {
    walk(operations::operations, rounds(600), 1_800);
}

#[test]
fn random_frames_break_no_promise() {
    walk(frames::frames, rounds(5_000), 500);
}

#[test]
fn random_octets_break_no_promise() {
    walk(connection::connection, rounds(5_000), 200);
}
