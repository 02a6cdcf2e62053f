//! The fuzz corpora of the targets that need actors, as ordinary tests: on stable, without libFuzzer. Beside them what
//! a search would try first, made of the pieces that matter by a fixed sequence of numbers.
#![allow(unreachable_pub, dead_code, reason = "the modules are those of the fuzz targets")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../fuzz/src/paths.rs"]
mod paths;
#[path = "../../fuzz/src/refusal.rs"]
mod refusal;

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
fn refusal_corpus() {
    replay("refusal", refusal::refusal);
}

#[test]
fn paths_corpus() {
    replay("paths", paths::paths);
}

/// A fixed sequence of numbers (splitmix64), so that a failure comes again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }

    fn pick<'a>(&mut self, pieces: &[&'a [u8]]) -> &'a [u8] {
        pieces[self.below(pieces.len())]
    }
}

#[test]
fn paths_of_pieces_stay_inside() {
    const PIECES: [&[u8]; 26] = [
        b"/",
        b"/",
        b"/",
        b".",
        b"..",
        b"%2e",
        b"%2E",
        b"%2f",
        b"%5c",
        b"\\",
        b"%",
        b"%25",
        b"%00",
        b"%c0%ae",
        b"%ff",
        b"a",
        b"b",
        b" ",
        b"%20",
        b".well-known",
        b"%zz",
        b"?",
        b"\xc3\xa4",
        b"\xff",
        b"%0a",
        b"2e",
    ];
    let mut numbers = Numbers(1);
    for _ in 0..100_000 {
        let mut input = vec![numbers.below(4) as u8];
        for _ in 0..numbers.below(10) {
            input.extend(numbers.pick(&PIECES));
        }
        paths::paths(&input);
    }
}

#[test]
fn first_octets_of_pieces_end_a_session_once() {
    const PIECES: [&[u8]; 22] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /x HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nhost: a\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n",
        b"content-length: 5\r\n\r\nhello",
        b"transfer-encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nx: y\r\n\r\n",
        b"expect: 100-continue\r\n",
        b"connection: close\r\n",
        b"\r\n",
        b"\n",
        b"\0",
        b"\x16\x03\x01\x02\x00\x01\x00",
        // SETTINGS, its acknowledgement, GET, a POST without its body, PING, GOAWAY.
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\0\x04\x01\0\0\0\0",
        b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a",
        b"\0\0\x06\x01\x04\0\0\0\x03\x83\x86\x84\x41\x01a",
        b"\0\0\x08\x06\0\0\0\0\0pingpong",
    ];
    let mut numbers = Numbers(2);
    for _ in 0..1_500 {
        let mut input = vec![numbers.below(16) as u8, numbers.below(256) as u8];
        for _ in 0..numbers.below(7) {
            input.extend(numbers.pick(&PIECES));
        }
        refusal::refusal(&input);
    }
}
