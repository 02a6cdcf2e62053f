//! The header codec alone: `cargo bench -p stagedoor-bench --bench hpack`.
//!
//! "first" is a fresh table, "repeated" one that has seen the list before. The crate `hpack` stands beside
//! ours for scale.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, criterion_group, criterion_main};
use stagedoor_protocol::hpack::{Decoder, Encoder};

type List<'a> = &'a [(&'a str, &'a str)];

const BROWSER: List<'_> = &[
    (":method", "GET"),
    (":authority", "www.example.com"),
    (":scheme", "https"),
    (":path", "/assets/app/main.9f8e7d6c.js?v=20240131"),
    ("sec-ch-ua", "\"Chromium\";v=\"124\", \"Google Chrome\";v=\"124\", \"Not-A.Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    ),
    ("accept", "*/*"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "no-cors"),
    ("referer", "https://www.example.com/index.html"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d; theme=dark; consent=yes"),
];

const RESPONSE: List<'_> = &[
    (":status", "200"),
    ("content-type", "text/plain; charset=utf-8"),
    ("content-length", "13"),
    ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
];

fn encode(encoder: &mut Encoder, list: List<'_>, out: &mut Vec<u8>) {
    encoder.begin(out);
    for (name, value) in list {
        encoder.field(name.as_bytes(), value.as_bytes(), false, out);
    }
}

/// The shape of a server's answer: status by number, the rest by name.
fn respond(encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.begin(out);
    encoder.status(200, out);
    for (name, value) in &RESPONSE[1..] {
        encoder.field(name.as_bytes(), value.as_bytes(), false, out);
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> usize {
    let mut octets = 0;
    let result = decoder.decode(black_box(block), 16_384, |field| {
        octets += black_box(field).value.len();
        ControlFlow::Continue(())
    });
    assert_eq!(result, Ok(()));
    octets
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack decode");
    let mut encoder = Encoder::new();
    let (mut first, mut repeated) = (Vec::new(), Vec::new());
    encode(&mut encoder, BROWSER, &mut first);
    encode(&mut encoder, BROWSER, &mut repeated);
    let indexed: Vec<u8> = (62..73).map(|index| 0x80 | index).chain([0x82, 0x87, 0x84]).collect();

    group.bench_function("browser, first", |bencher| {
        bencher.iter(|| decode(&mut Decoder::new(4096), &first));
    });
    group.bench_function("browser, first, table and scratch allocated", |bencher| {
        // An update to 0 and back empties the table; the octets it costs are part of the block.
        let block = [&[0x20, 0x3f, 0xe1, 0x1f][..], &first].concat();
        let mut decoder = Decoder::new(4096);
        bencher.iter(|| decode(&mut decoder, &block));
    });
    group.bench_function("browser, repeated", |bencher| {
        let mut decoder = Decoder::new(4096);
        decode(&mut decoder, &first);
        bencher.iter(|| decode(&mut decoder, &repeated));
    });
    group.bench_function("14 indexed fields", |bencher| {
        let mut decoder = Decoder::new(4096);
        decode(&mut decoder, &first);
        bencher.iter(|| decode(&mut decoder, &indexed));
    });
    group.bench_function("browser, first, crate hpack", |bencher| {
        bencher.iter(|| hpack::Decoder::new().decode(black_box(&first)).map(|list| list.len()));
    });
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack encode");
    let mut out = Vec::with_capacity(1024);
    group.bench_function("response, first", |bencher| {
        bencher.iter(|| {
            out.clear();
            respond(&mut Encoder::new(), black_box(&mut out));
            out.len()
        });
    });
    group.bench_function("response, repeated", |bencher| {
        let mut encoder = Encoder::new();
        respond(&mut encoder, &mut out);
        bencher.iter(|| {
            out.clear();
            respond(black_box(&mut encoder), black_box(&mut out));
            out.len()
        });
    });
    group.bench_function("browser, repeated", |bencher| {
        let mut encoder = Encoder::new();
        encode(&mut encoder, BROWSER, &mut out);
        bencher.iter(|| {
            out.clear();
            encode(black_box(&mut encoder), BROWSER, black_box(&mut out));
            out.len()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = decoding, encoding
}
criterion_main!(benches);
