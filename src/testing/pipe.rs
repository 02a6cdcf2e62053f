//! The server's ends of in-memory connections, and who is told when the last of them is closed.
//!
//! Knows no HTTP. Invariant: a pipe is on the board from its making until its session has dropped it, once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;

/// How to end the session of a pipe.
type Cut = Box<dyn Fn()>;

/// The open pipes of one server.
#[derive(Default)]
pub(super) struct Board {
    open: RefCell<HashMap<u64, Option<Cut>>>,
    next: Cell<u64>,
    closed: Notify,
}

impl Board {
    /// A connection: the end of the session, and the other one. Each way holds `octets` octets until they are read.
    pub(super) fn pipe(self: &Rc<Self>, octets: usize) -> (Pipe, DuplexStream) {
        let (io, theirs) = tokio::io::duplex(octets);
        let number = self.next.get();
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, None);
        (Pipe { io, number, board: Rc::clone(self) }, theirs)
    }

    /// Says how to end the session that has pipe `number`.
    pub(super) fn cut_by(&self, number: u64, cut: impl Fn() + 'static) {
        if let Some(entry) = self.open.borrow_mut().get_mut(&number) {
            *entry = Some(Box::new(cut));
        }
    }

    /// Ends every session.
    pub(super) fn cut_all(&self) {
        // A session that ends takes its pipe off the board.
        let cuts: Vec<Cut> = self.open.borrow_mut().values_mut().filter_map(Option::take).collect();
        cuts.iter().for_each(|cut| cut());
    }

    /// Pipes that sessions hold.
    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Waits until no session holds a pipe.
    pub(super) async fn emptied(&self) {
        loop {
            let closed = self.closed.notified();
            if self.len() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// The end of a session.
pub(super) struct Pipe {
    io: DuplexStream,
    number: u64,
    board: Rc<Board>,
}

impl Pipe {
    /// Its place on the board.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let cut = self.board.open.borrow_mut().remove(&self.number);
        drop(cut);
        self.board.closed.notify_waiters();
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
