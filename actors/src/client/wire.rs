//! The octets of one session of ours as they cross, above TLS, for whoever shows frames.
//!
//! Parses nothing and holds nothing back. Invariant: an observer sees exactly the octets that crossed, in their order,
//! each direction for itself; a session without one has no part of this in its way.

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::events::PanicPlace;
use crate::host::caught_here;
use crate::supervise::words;
use crate::transport::Transport;

/// Hears the octets of a session: frames, and the client's preface before them (RFC 9113 §3.4). It is called inside
/// the session's turn, so it does not block for long. One that panics is logged and hears nothing more.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// use stagedoor_actors::client::{Options, WireObserver};
///
/// #[derive(Default)]
/// struct Octets(Cell<usize>);
///
/// impl WireObserver for Octets {
///     fn sent(&self, octets: &[u8]) {
///         self.0.set(self.0.get() + octets.len());
///     }
///
///     fn received(&self, octets: &[u8]) {
///         self.0.set(self.0.get() + octets.len());
///     }
/// }
///
/// let options = Options { wire: Some(Rc::new(Octets::default())), ..Options::default() };
/// ```
pub trait WireObserver {
    /// Octets that were handed to the transport.
    fn sent(&self, octets: &[u8]);
    /// Octets that came.
    fn received(&self, octets: &[u8]);
}

/// A transport with an observer.
pub(crate) struct Watched {
    io: Transport,
    observer: Option<Rc<dyn WireObserver>>,
}

impl Watched {
    pub(crate) fn new(io: Transport, observer: Rc<dyn WireObserver>) -> Self {
        Self { io, observer: Some(observer) }
    }

    fn tell(&mut self, tell: impl FnOnce(&dyn WireObserver)) {
        let Some(observer) = &self.observer else { return };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| tell(&**observer))) {
            let words = words(&*payload);
            tracing::error!(panic = words, "an observer of octets panicked");
            caught_here(PanicPlace::Observer, &words);
            self.observer = None;
        }
    }

    pub(crate) fn io(&self) -> &Transport {
        &self.io
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Some(octets) = buf.filled().get(before..)
            && !octets.is_empty()
        {
            self.tell(|observer| observer.received(octets));
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, octets);
        if let Poll::Ready(Ok(count)) = &result {
            self.tell(|observer| observer.sent(octets.get(..*count).unwrap_or(octets)));
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(count)) = &result {
            let mut left = *count;
            for slice in slices {
                let octets = slice.get(..left).unwrap_or(slice);
                if !octets.is_empty() {
                    self.tell(|observer| observer.sent(octets));
                }
                left -= octets.len();
            }
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
