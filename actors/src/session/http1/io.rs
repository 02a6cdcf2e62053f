//! The socket as hyper sees it: octets counted, what was read before it put back in front.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1::Connection;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::request::Front;
use crate::scratch;
use crate::transport::Transport;

/// What moved on the socket; shared with the engine.
#[derive(Default)]
pub(crate) struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    now: Cell<Option<Instant>>,
    last_received: Cell<Option<Instant>>,
    blocked: Cell<Option<Instant>>,
    failed: Cell<Option<io::ErrorKind>>,
    /// The socket rests here when hyper is dropped.
    returned: RefCell<Option<Transport>>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { last_received: Cell::new(Some(now)), ..Self::default() }
    }

    pub(super) fn turn(&self, now: Instant) {
        self.now.set(Some(now));
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn last_received(&self) -> Option<Instant> {
        self.last_received.get()
    }

    /// Since when the socket takes nothing of what hyper has for it.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.blocked.get()
    }

    /// The error of the socket, if it failed.
    pub(super) fn failed(&self) -> Option<io::ErrorKind> {
        self.failed.get()
    }

    /// Drops hyper's connection and takes the socket out of it.
    pub(super) fn take_back(&self, conn: Pin<Box<Connection<Metered, Front>>>) -> Option<Transport> {
        drop(conn);
        self.returned.borrow_mut().take()
    }

    fn note<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result {
            self.failed.set(Some(error.kind()));
        }
    }
}

/// See the module.
pub(crate) struct Metered {
    io: Option<Transport>,
    seen: Bytes,
    meter: Rc<Meter>,
}

impl Metered {
    pub(super) fn new(io: Transport, seen: Bytes, meter: Rc<Meter>) -> Self {
        Self { io: Some(io), seen, meter }
    }

    fn io(&mut self) -> io::Result<Pin<&mut Transport>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        *self.meter.returned.borrow_mut() = self.io.take();
    }
}

impl hyper::rt::Read for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.seen.is_empty() {
            let count = self.seen.len().min(cursor.remaining());
            cursor.put_slice(&self.seen[..count]);
            self.seen.advance(count);
            return Poll::Ready(Ok(()));
        }
        let mut room = scratch::take();
        let most = room.len().min(cursor.remaining());
        let mut buffer = ReadBuf::new(&mut room[..most]);
        let read = match self.io() {
            Ok(io) => io.poll_read(cx, &mut buffer),
            Err(error) => Poll::Ready(Err(error)),
        };
        let count = buffer.filled().len();
        cursor.put_slice(buffer.filled());
        scratch::put(room);
        if count > 0 {
            self.meter.received.set(self.meter.received.get() + count as u64);
            self.meter.last_received.set(self.meter.now.get());
        }
        self.meter.note(&read);
        read
    }
}

impl Metered {
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(count)) => {
                self.meter.sent.set(self.meter.sent.get() + *count as u64);
                self.meter.blocked.set(None);
            }
            Poll::Pending if self.meter.blocked.get().is_none() => {
                self.meter.blocked.set(self.meter.now.get());
            }
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        self.meter.note(&result);
        result
    }
}

impl hyper::rt::Write for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.io()?.poll_write(cx, octets);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.io()?.poll_write_vectored(cx, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.io()?.poll_flush(cx);
        self.meter.note(&result);
        result
    }

    /// The half-close is the parting's business, after hyper is gone.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
