//! A pipe whose session end lets octets through one at a time, or not at all, each direction by itself.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a direction lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    All,
    /// One octet in so long.
    OneEach(Duration),
    Nothing,
}

/// One octet a second.
pub const DRIP: Pass = Pass::OneEach(Duration::from_secs(1));

/// What both directions let through now, as the session sees them. A direction that was stopped is not woken when
/// it may go on; one that drips looks again with each octet.
pub struct Valve {
    pub reads: Cell<Pass>,
    pub writes: Cell<Pass>,
}

struct Gate {
    next: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// How many octets may pass.
    fn poll(&mut self, pass: Pass, cx: &mut Context<'_>) -> Poll<usize> {
        match pass {
            Pass::All => Poll::Ready(usize::MAX),
            Pass::Nothing => Poll::Pending,
            Pass::OneEach(time) => {
                let sleep = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                ready!(sleep.as_mut().poll(cx));
                Poll::Ready(1)
            }
        }
    }

    fn passed(&mut self, pass: Pass) {
        if let (Pass::OneEach(time), Some(sleep)) = (pass, &mut self.next) {
            sleep.as_mut().reset(Instant::now() + time);
        }
    }
}

pub struct Throttle {
    io: DuplexStream,
    valve: Rc<Valve>,
    reading: Gate,
    writing: Gate,
}

impl Throttle {
    /// The session's end, the other end, and the valve between them, open.
    pub fn pair() -> (Self, DuplexStream, Rc<Valve>) {
        let (io, theirs) = tokio::io::duplex(1 << 20);
        let valve = Rc::new(Valve { reads: Cell::new(Pass::All), writes: Cell::new(Pass::All) });
        let gate = || Gate { next: None };
        (Self { io, valve: Rc::clone(&valve), reading: gate(), writing: gate() }, theirs, valve)
    }
}

impl AsyncRead for Throttle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let pass = this.valve.reads.get();
        let most = ready!(this.reading.poll(pass, cx)).min(buf.remaining());
        let mut part = buf.take(most);
        let read = Pin::new(&mut this.io).poll_read(cx, &mut part);
        let count = part.filled().len();
        if count > 0 {
            // The part is a view of this buffer, and was filled from its start.
            let octets = part.filled().to_vec();
            buf.put_slice(&octets);
            this.reading.passed(pass);
        }
        read
    }
}

impl AsyncWrite for Throttle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let pass = this.valve.writes.get();
        let most = ready!(this.writing.poll(pass, cx)).min(octets.len());
        let wrote = ready!(Pin::new(&mut this.io).poll_write(cx, &octets[..most]))?;
        this.writing.passed(pass);
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
