//! The socket as hyper sees it: octets counted, what was read before it put back in front.
//! Invariant: what the client sent reaches hyper once and in order, whoever read it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::scratch;
use crate::transport::Transport;

/// Octets read ahead of hyper, to see whether the client is still there.
const AHEAD: usize = 4 << 10;

/// The socket and what moved on it; shared by hyper, through [`Metered`], and the engine.
pub(crate) struct Meter {
    io: RefCell<Option<Transport>>,
    /// Octets read and not yet given to hyper.
    seen: RefCell<Bytes>,
    received: Cell<u64>,
    sent: Cell<u64>,
    now: Cell<Instant>,
    blocked: Cell<Option<Instant>>,
    /// Octets the socket below TLS had taken when it was last blocked.
    below: Cell<u64>,
    ended: Cell<Option<Instant>>,
    failed: Cell<Option<io::ErrorKind>>,
}

impl Meter {
    pub(super) fn new(io: Transport, seen: Bytes, now: Instant) -> Self {
        Self {
            io: RefCell::new(Some(io)),
            seen: RefCell::new(seen),
            received: Cell::new(0),
            sent: Cell::new(0),
            now: Cell::new(now),
            blocked: Cell::new(None),
            below: Cell::new(0),
            ended: Cell::new(None),
            failed: Cell::new(None),
        }
    }

    pub(super) fn turn(&self, now: Instant) {
        self.now.set(now);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Since when the socket takes nothing of what hyper, or TLS, has for it.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.blocked.get()
    }

    /// Since when the client has ended its side.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// The error of the socket, if it failed.
    pub(super) fn failed(&self) -> Option<io::ErrorKind> {
        self.failed.get()
    }

    /// Octets read ahead that hyper did not take.
    pub(super) fn take_seen(&self) -> Bytes {
        std::mem::take(&mut self.seen.borrow_mut())
    }

    /// Takes the socket out; hyper is gone.
    pub(super) fn take_back(&self) -> Option<Transport> {
        self.io.borrow_mut().take()
    }

    /// Reads a little while hyper does not: with half-close allowed it would not learn during an exchange that
    /// its client is gone. True when hyper has something to look at.
    pub(super) fn look_ahead(&self, cx: &mut Context<'_>) -> bool {
        // Requests that wait do not hide the end behind them, up to a bound.
        let waiting = self.seen.borrow().len();
        if waiting >= AHEAD || self.ended.get().is_some() || self.failed.get().is_some() {
            return false;
        }
        let mut room = scratch::take();
        let mut buffer = ReadBuf::new(&mut room[..AHEAD - waiting]);
        let read = self.read(cx, &mut buffer);
        if !buffer.filled().is_empty() {
            let mut seen = self.seen.borrow_mut();
            *seen = match waiting {
                0 => Bytes::copy_from_slice(buffer.filled()),
                _ => [&seen[..], buffer.filled()].concat().into(),
            };
        }
        scratch::put(room);
        read.is_ready()
    }

    fn read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.with(|io| io.poll_read(cx, buffer));
        match &read {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.received.set(self.received.get() + buffer.filled().len() as u64);
            }
            Poll::Ready(Ok(())) if buffer.capacity() > 0 && self.ended.get().is_none() => {
                self.ended.set(Some(self.now.get()));
            }
            _ => {}
        }
        self.note(&read);
        read
    }

    fn with<T>(&self, call: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.io.borrow_mut() {
            Some(io) => call(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The socket was asked to take octets.
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero),
            Poll::Ready(Ok(count)) => {
                self.sent.set(self.sent.get() + *count as u64);
                self.blocked.set(None);
            }
            Poll::Pending if self.blocked.get().is_none() => self.blocked.set(Some(self.now.get())),
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        self.note(&result);
        result
    }

    /// The socket was asked for what TLS holds.
    fn flushed(&self, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match &result {
            Poll::Ready(Ok(())) => self.blocked.set(None),
            Poll::Pending => {
                let below = self.io.borrow().as_ref().and_then(Transport::below);
                let moved = below.is_some_and(|below| self.below.replace(below) != below);
                if moved || self.blocked.get().is_none() {
                    self.blocked.set(Some(self.now.get()));
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        self.note(&result);
        result
    }

    fn note<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result {
            self.fail(error.kind());
        }
    }

    /// The first error is the one that tells why.
    fn fail(&self, kind: io::ErrorKind) {
        if self.failed.get().is_none() {
            self.failed.set(Some(kind));
        }
    }
}

/// The socket as hyper holds it.
pub(crate) struct Metered(Rc<Meter>);

impl Metered {
    pub(super) fn new(meter: Rc<Meter>) -> Self {
        Self(meter)
    }
}

impl hyper::rt::Read for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut seen = self.0.seen.borrow_mut();
        if !seen.is_empty() {
            let count = seen.len().min(cursor.remaining());
            cursor.put_slice(&seen.split_to(count));
            if seen.is_empty() {
                *seen = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        drop(seen);
        let mut room = scratch::take();
        let most = room.len().min(cursor.remaining());
        let mut buffer = ReadBuf::new(&mut room[..most]);
        let read = self.0.read(cx, &mut buffer);
        cursor.put_slice(buffer.filled());
        scratch::put(room);
        read
    }
}

impl hyper::rt::Write for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.0.wrote(self.0.with(|io| io.poll_write(cx, octets)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.wrote(self.0.with(|io| io.poll_write_vectored(cx, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.io.borrow().as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.flushed(self.0.with(|io| io.poll_flush(cx)))
    }

    /// The half-close is the parting's business, after hyper is gone.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
