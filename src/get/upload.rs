//! The body of `get -d`: the words of the command line, a file, or stdin, read as the peer takes it.
//!
//! Invariant: at most two pieces are in memory; what cannot be read ends the request, never shortens it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use stagedoor::Body;
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};

/// Octets read at once.
const PIECE: usize = 64 * 1024;

/// What is sent.
pub(super) enum Upload {
    /// As it stands on the command line.
    Words(Bytes),
    /// Read while it is sent. The length is known of files alone.
    Source { name: String, source: Box<dyn Read + Send>, length: Option<u64> },
}

/// What a source that failed said.
#[derive(Clone, Default)]
pub(super) struct Unreadable(Rc<RefCell<Option<String>>>);

impl Unreadable {
    /// The words, once there are some.
    pub(super) fn told(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

impl Upload {
    /// `DATA`, `@file`, or `-` and `@-` for stdin.
    pub(super) fn open(data: &str) -> Result<Self, Failure> {
        let Some(name) = (if data == "-" { Some("-") } else { data.strip_prefix('@') }) else {
            return Ok(Self::Words(Bytes::copy_from_slice(data.as_bytes())));
        };
        if name == "-" {
            return Ok(Self::Source {
                name: "stdin".to_owned(),
                source: Box::new(io::stdin()),
                length: None,
            });
        }
        let failed = |error: io::Error| Failure::new(Exit::Input, format!("cannot read {name}: {error}"));
        let file = File::open(name).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if facts.is_dir() {
            return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
        }
        let length = facts.is_file().then_some(facts.len());
        Ok(Self::Source { name: name.to_owned(), source: Box::new(file), length })
    }

    /// The body of a request, and where it tells why it failed.
    pub(super) fn into_body(self) -> (Body, Unreadable) {
        let unreadable = Unreadable::default();
        let body = match self {
            Self::Words(words) => Body::full(words),
            Self::Source { name, source, length } => {
                let (pieces, queue) = mpsc::channel(1);
                // A thread of its own: stdin may keep it waiting when the process wants to end.
                std::thread::spawn(move || read(source, length, &pieces));
                Body::stream(Reading { name, queue, left: length, unreadable: unreadable.clone() })
            }
        };
        (body, unreadable)
    }
}

/// Reads until the end, an error, or until nobody wants more; a file that grows is sent as long as it was.
fn read(mut source: Box<dyn Read + Send>, length: Option<u64>, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let mut left = length;
    loop {
        let most = left.map_or(PIECE, |left| left.min(PIECE as u64) as usize);
        if most == 0 {
            return;
        }
        let mut piece = vec![0; most];
        let result = match source.read(&mut piece) {
            Ok(0) if left.is_some() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"))
            }
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                left = left.map(|left| left - count as u64);
                Ok(Bytes::from(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let last = result.is_err();
        if pieces.blocking_send(result).is_err() || last {
            return;
        }
    }
}

struct Reading {
    name: String,
    queue: mpsc::Receiver<io::Result<Bytes>>,
    left: Option<u64>,
    unreadable: Unreadable,
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        this.queue.poll_recv(cx).map(|piece| {
            piece.map(|piece| match piece {
                Ok(octets) => {
                    this.left = this.left.map(|left| left.saturating_sub(octets.len() as u64));
                    Ok(Frame::data(octets))
                }
                Err(error) => {
                    *this.unreadable.0.borrow_mut() = Some(format!("cannot read {}: {error}", this.name));
                    Err(error)
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
