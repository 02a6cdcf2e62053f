//! Two cores talking in memory, no socket and no runtime: `cargo run -p stagedoor-protocol --example pair`.

use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use stagedoor_protocol::{Config, Connection, Event, Fields, RequestHead, ResponseHead, Role};

/// Moves what one side has to say to the other.
fn carry(from: &mut Connection, to: &mut Connection, now: Instant) {
    while from.poll_output(now) > 0 {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = from.output(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        from.advance_output(bytes.len());
        if let Err(error) = to.handle_input(&bytes, now) {
            println!("connection over: {error}");
            return;
        }
    }
}

fn main() -> Result<(), stagedoor_protocol::UserError> {
    let now = Instant::now();
    let mut client = Connection::new(Role::Client, Config::default(), now);
    let mut server = Connection::new(Role::Server, Config::default(), now);

    let stream = client.send_request(&RequestHead::new("GET", "http", "localhost", "/hello"), true)?;
    carry(&mut client, &mut server, now);
    while let Some(event) = server.poll_event() {
        if let Event::StreamOpened { id, head, .. } = event {
            println!("server: {} {}", head.method(), head.path().unwrap_or("-"));
            let fields: Fields = [("content-type", "text/plain")].into_iter().collect();
            server.send_response(id, &ResponseHead::new(200, fields), false)?;
            server.send_data(id, Bytes::from_static(b"hello from the other side\n"), true)?;
        }
    }
    carry(&mut server, &mut client, now);
    while let Some(event) = client.poll_event() {
        match event {
            Event::ResponseReceived { head, .. } => println!("client: {} {:?}", head.status, head.fields),
            Event::DataReceived { data, .. } => print!("client: {}", String::from_utf8_lossy(&data)),
            Event::StreamClosed { cause, .. } => println!("client: stream {stream} closed, {cause:?}"),
            other => println!("client: {other:?}"),
        }
    }
    Ok(())
}
