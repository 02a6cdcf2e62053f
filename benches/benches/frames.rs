//! Frames and bodies in the core: header octets both ways, 1 MiB up in 16 KiB DATA frames, 1 MiB down.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stagedoor_protocol::frame::{FrameHeader, kind};
use stagedoor_protocol::{Config, Connection, Event, Fields, RequestHead, ResponseHead, Role, StreamId};

const MIB: usize = 1 << 20;

/// A client and a server that have exchanged settings.
fn pair(now: Instant) -> (Connection, Connection) {
    let mut client = Connection::new(Role::Client, Config::default(), now);
    let mut server = Connection::new(Role::Server, Config::default(), now);
    for _ in 0..2 {
        carry(&mut client, &mut server, now);
        carry(&mut server, &mut client, now);
    }
    while client.poll_event().or_else(|| server.poll_event()).is_some() {}
    (client, server)
}

fn carry(from: &mut Connection, to: &mut Connection, now: Instant) -> usize {
    let mut moved = 0;
    while from.poll_output(now) > 0 {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = from.output(&mut slices);
        let mut count = 0;
        for slice in &slices[..filled] {
            count += slice.len();
            if let Err(error) = to.handle_input(slice, now) {
                panic!("refused: {error}");
            }
        }
        from.advance_output(count);
        moved += count;
    }
    moved
}

/// Sends `body` from one side on an open stream; the other side reads all of it.
fn transfer(from: &mut Connection, to: &mut Connection, id: StreamId, body: &Bytes, now: Instant) -> usize {
    let (mut offset, mut read) = (0, 0);
    while read < body.len() {
        let room = from.capacity(id).min(body.len() - offset);
        if room > 0 {
            let chunk = body.slice(offset..offset + room);
            offset += room;
            if let Err(error) = from.send_data(id, chunk, offset == body.len()) {
                panic!("not sent: {error}");
            }
        }
        carry(from, to, now);
        while let Some(event) = to.poll_event() {
            if let Event::DataReceived { data, .. } = event {
                read += data.len();
                to.consume(id, data.len());
            }
        }
        carry(to, from, now);
        while from.poll_event().is_some() {}
    }
    read
}

fn upload(client: &mut Connection, server: &mut Connection, body: &Bytes, now: Instant) -> usize {
    let head = RequestHead::new("POST", "http", "localhost", "/upload");
    let Ok(id) = client.send_request(&head, false) else { panic!("no stream") };
    let read = transfer(client, server, id, body, now);
    let _ = server.send_response(id, &ResponseHead::new(204, Fields::new()), true);
    carry(server, client, now);
    while client.poll_event().or_else(|| server.poll_event()).is_some() {}
    read
}

fn download(client: &mut Connection, server: &mut Connection, body: &Bytes, now: Instant) -> usize {
    let Ok(id) = client.send_request(&RequestHead::new("GET", "http", "localhost", "/download"), true) else {
        panic!("no stream")
    };
    carry(client, server, now);
    while server.poll_event().is_some() {}
    let _ = server.send_response(id, &ResponseHead::new(200, Fields::new()), false);
    transfer(server, client, id, body, now)
}

fn frames(criterion: &mut Criterion) {
    let header = FrameHeader { length: 16_384, kind: kind::DATA, flags: 1, id: StreamId::from_wire(77) };
    let octets = header.octets();
    criterion.bench_function("frames/header parse", |bencher| {
        bencher.iter(|| FrameHeader::parse(black_box(&octets)));
    });
    criterion.bench_function("frames/header write", |bencher| bencher.iter(|| black_box(header).octets()));

    let now = Instant::now();
    let body = Bytes::from(vec![7; MIB]);
    let mut group = criterion.benchmark_group("bodies");
    group.throughput(Throughput::Bytes(MIB as u64));
    for (name, run) in
        [("up", upload as fn(&mut Connection, &mut Connection, &Bytes, Instant) -> usize), ("down", download)]
    {
        let (mut client, mut server) = pair(now);
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(run(&mut client, &mut server, &body, now), MIB));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20).without_plots(); targets = frames }
criterion_main!(benches);
