//! Bodies on their way through: the request's, which can be given to another try as long as nobody has read of it, and
//! the answer's, which holds on to what it came over.
//!
//! Nothing is kept here but one piece: what is not read stays in the windows of who sends.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use stagedoor_actors::{BodyError, RequestBody, SessionHandle};

/// The body of a request between its client and whoever it is sent on to.
pub(crate) struct Source {
    body: RefCell<RequestBody>,
    session: SessionHandle,
    touched: Cell<bool>,
    /// When octets of it went on last.
    moved: Cell<Instant>,
    failed: RefCell<Option<BodyError>>,
}

impl Source {
    pub(crate) fn new(body: RequestBody, session: SessionHandle) -> Rc<Self> {
        let moved = Cell::new(session.now());
        Rc::new(Self {
            body: RefCell::new(body),
            session,
            touched: Cell::new(false),
            moved,
            failed: RefCell::default(),
        })
    }

    /// Octets were read of it: it cannot be sent a second time.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.get()
    }

    pub(crate) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// What was wrong with it.
    pub(crate) fn failed(&self) -> Option<BodyError> {
        self.failed.borrow().clone()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut body = self.body.borrow_mut();
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                self.touched.set(true);
                self.moved.set(self.session.now());
            }
            Poll::Ready(Some(Err(error))) => {
                self.touched.set(true);
                *self.failed.borrow_mut() = Some(error.clone());
            }
            Poll::Ready(None) => self.moved.set(self.session.now()),
        }
        polled
    }
}

/// A body as one try sends it.
pub(crate) enum Upload {
    Nothing,
    From(Rc<Source>),
}

impl Upload {
    pub(crate) fn of(source: Option<&Rc<Source>>) -> Self {
        source.map_or(Self::Nothing, |source| Self::From(Rc::clone(source)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::From(source) => source.poll(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::From(source) => source.body.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::From(source) => source.body.borrow().size_hint(),
        }
    }
}
