//! A client made of our own protocol machine: typed calls out, typed events in.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use stagedoor_protocol::{
    Config, Connection, ErrorCode, Event, Fields, RequestHead, ResponseHead, Role, StreamId,
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf};

pub struct Peer {
    pub conn: Connection,
    io: DuplexStream,
}

/// A GET for `path`.
pub fn get_head(path: &str) -> RequestHead {
    RequestHead::new("GET", "http", "a", path)
}

pub fn post_head(path: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::new("POST", "http", "a", path);
    fields.iter().for_each(|(name, value)| head.fields_mut().push(name, value));
    head
}

pub fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().copied().collect()
}

impl Peer {
    pub fn new(io: DuplexStream) -> Self {
        Self::with(io, Config::default())
    }

    pub fn with(io: DuplexStream, config: Config) -> Self {
        Self { conn: Connection::new(Role::Client, config, now()), io }
    }

    /// Begins a request.
    pub fn request(&mut self, head: &RequestHead, end: bool) -> StreamId {
        self.conn.send_request(head, end).expect("a request that may be sent")
    }

    pub fn get(&mut self, path: &str) -> StreamId {
        self.request(&get_head(path), true)
    }

    pub fn data(&mut self, id: StreamId, octets: &'static [u8], end: bool) {
        self.conn.send_data(id, Bytes::from_static(octets), end).expect("data that may be sent");
    }

    pub fn reset(&mut self, id: StreamId, code: ErrorCode) {
        self.conn.reset_stream(id, code).expect("an open stream");
    }

    /// Puts what was said on the wire.
    pub async fn flush(&mut self) {
        poll_fn(|cx| self.poll_write(cx)).await;
    }

    /// Ready when all is written, or nobody takes it any more. What is left when nobody waits is written later.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.conn.poll_output(now()) > 0 {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let filled = self.conn.output(&mut slices);
            let wrote = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..filled]));
            let Ok(count) = wrote else { break };
            self.conn.advance_output(count);
        }
        Poll::Ready(())
    }

    /// The next event; `None` when the connection is over. Writes while it waits.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.conn.poll_event() {
                if let Event::DataReceived { id, data, .. } = &event {
                    self.conn.consume(*id, data.len());
                }
                return Some(event);
            }
            let mut room = [0; 16 << 10];
            let mut buffer = ReadBuf::new(&mut room);
            let read = poll_fn(|cx| {
                _ = self.poll_write(cx);
                Pin::new(&mut self.io).poll_read(cx, &mut buffer)
            });
            if read.await.is_err() || buffer.filled().is_empty() {
                return None;
            }
            // A machine that failed has said so in its events.
            self.conn.handle_input(buffer.filled(), now()).ok();
        }
    }

    /// Everything that happens on a stream until it is closed.
    pub async fn story(&mut self, id: StreamId) -> Vec<Event> {
        let mut story = Vec::new();
        loop {
            let event = self.next().await.expect("the stream is closed before the connection");
            if about(&event) != Some(id) {
                continue;
            }
            let over = matches!(event, Event::StreamClosed { .. });
            story.push(event);
            if over {
                return story;
            }
        }
    }

    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("it happens before the connection is over");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The final head of a stream.
    pub async fn response(&mut self, id: StreamId) -> ResponseHead {
        match self.until(|event| matches!(event, Event::ResponseReceived { id: of, .. } if *of == id)).await {
            Event::ResponseReceived { head, .. } => head,
            _ => unreachable!(),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The stream an event speaks of.
pub fn about(event: &Event) -> Option<StreamId> {
    match event {
        Event::InformationalReceived { id, .. }
        | Event::ResponseReceived { id, .. }
        | Event::PushPromised { id, .. }
        | Event::DataReceived { id, .. }
        | Event::TrailersReceived { id, .. }
        | Event::StreamClosed { id, .. } => Some(*id),
        _ => None,
    }
}

/// The octets of the body in a story.
pub fn body_of(story: &[Event]) -> Vec<u8> {
    let chunks = story.iter().filter_map(|event| match event {
        Event::DataReceived { data, .. } => Some(&data[..]),
        _ => None,
    });
    chunks.collect::<Vec<_>>().concat()
}

pub fn head_of(story: &[Event]) -> (ResponseHead, bool) {
    let found = story.iter().find_map(|event| match event {
        Event::ResponseReceived { head, end_stream, .. } => Some((head.clone(), *end_stream)),
        _ => None,
    });
    found.expect("a final head")
}
