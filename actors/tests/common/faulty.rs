//! A pipe whose session end does at each call what a plan says: passes, gives or takes a part, waits, fails, ends.
//!
//! Knows no protocol. Invariants: what the plan lets pass is passed unchanged and in order, and counted exactly; a call
//! that waits is woken; after [`Act::Break`] the pipe is gone, for its other end too.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a session asks of its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    /// Vectored or not.
    Write,
    Flush,
    Shutdown,
}

impl Call {
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Flush, Self::Shutdown];
}

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// What would have come of it.
    Pass,
    /// The same with so many octets at most.
    Part(usize),
    /// The same after so long.
    Wait(Duration),
    /// The same once [`Book::release`] was called.
    Hold,
    /// This error; the next call is as good as ever.
    Fail(ErrorKind),
    /// This error, and the connection is gone: reads end, writes break, the other end is closed.
    Break(ErrorKind),
    /// A read: the end, now and later. A write: takes nothing.
    End,
    Panic,
}

/// Says what comes of the call that is made for the so-many-th time, counted from 1 for each kind.
pub type Plan = Box<dyn FnMut(Call, usize) -> Act>;

/// What a session did with its end, and what was done to it.
#[derive(Default)]
pub struct Book {
    calls: [Cell<usize>; 4],
    /// Octets it was given.
    pub received: Cell<u64>,
    /// Octets it was rid of.
    pub sent: Cell<u64>,
    /// Acts that were none of `Pass`.
    pub faults: Cell<usize>,
    released: Cell<bool>,
    held: RefCell<Vec<Waker>>,
}

impl Book {
    pub fn calls(&self, call: Call) -> usize {
        self.calls[call as usize].get()
    }

    /// Lets go on what holds.
    pub fn release(&self) {
        self.released.set(true);
        self.held.take().into_iter().for_each(Waker::wake);
    }
}

enum Gate {
    Open,
    Waiting(Pin<Box<Sleep>>),
    Held,
}

pub struct Faulty {
    pipe: Option<DuplexStream>,
    plan: Plan,
    book: Rc<Book>,
    gates: [Gate; 4],
    ended: bool,
}

impl Faulty {
    /// The session's end, the other end, and what becomes of the first.
    pub fn pair(
        room: usize,
        plan: impl FnMut(Call, usize) -> Act + 'static,
    ) -> (Self, DuplexStream, Rc<Book>) {
        let (pipe, theirs) = tokio::io::duplex(room);
        let book = Rc::new(Book::default());
        let gates = [const { Gate::Open }; 4];
        let ours =
            Self { pipe: Some(pipe), plan: Box::new(plan), book: Rc::clone(&book), gates, ended: false };
        (ours, theirs, book)
    }

    /// What comes of this call, once it need not wait for it.
    fn act(&mut self, call: Call, cx: &mut Context<'_>) -> Poll<Act> {
        let gate = &mut self.gates[call as usize];
        if matches!(gate, Gate::Open) {
            let count = &self.book.calls[call as usize];
            count.set(count.get() + 1);
            let act = (self.plan)(call, count.get());
            self.book.faults.set(self.book.faults.get() + usize::from(act != Act::Pass));
            match act {
                Act::Wait(time) => *gate = Gate::Waiting(Box::pin(sleep(time))),
                Act::Hold => *gate = Gate::Held,
                Act::Panic => panic!("a transport that panics in {call:?}"),
                act => return Poll::Ready(act),
            }
        }
        match gate {
            Gate::Waiting(sleep) => ready!(sleep.as_mut().poll(cx)),
            Gate::Held if !self.book.released.get() => {
                self.book.held.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            Gate::Held | Gate::Open => {}
        }
        *gate = Gate::Open;
        Poll::Ready(Act::Pass)
    }

    /// The pipe, where it is still there and this call is not to fail.
    fn pipe(&mut self, act: Act, gone: ErrorKind) -> io::Result<Pin<&mut DuplexStream>> {
        match act {
            Act::Fail(kind) => return Err(kind.into()),
            Act::Break(kind) => {
                self.pipe = None;
                return Err(kind.into());
            }
            _ => {}
        }
        self.pipe.as_mut().map(Pin::new).ok_or_else(|| gone.into())
    }

    fn sent(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &wrote {
            self.book.sent.set(self.book.sent.get() + *count as u64);
        }
        wrote
    }
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let act = ready!(this.act(Call::Read, cx));
        let most = if let Act::Part(most) = act { most } else { usize::MAX };
        this.ended |= matches!(act, Act::End);
        let ended = this.ended || this.pipe.is_none();
        let pipe = this.pipe(act, ErrorKind::NotConnected);
        if ended && !matches!(act, Act::Fail(_) | Act::Break(_)) {
            return Poll::Ready(Ok(()));
        }
        let mut room = vec![0; most.min(buf.remaining())];
        let mut part = ReadBuf::new(&mut room);
        ready!(pipe?.poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        this.book.received.set(this.book.received.get() + part.filled().len() as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let act = ready!(this.act(Call::Write, cx));
        if act == Act::End {
            return Poll::Ready(Ok(0));
        }
        let pipe = this.pipe(act, ErrorKind::BrokenPipe)?;
        let wrote = match act {
            Act::Part(most) => {
                let octets: Vec<u8> =
                    slices.iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
                pipe.poll_write(cx, &octets)
            }
            _ => pipe.poll_write_vectored(cx, slices),
        };
        this.sent(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let act = ready!(self.act(Call::Flush, cx));
        self.pipe(act, ErrorKind::BrokenPipe)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let act = ready!(self.act(Call::Shutdown, cx));
        self.pipe(act, ErrorKind::NotConnected)?.poll_shutdown(cx)
    }
}
