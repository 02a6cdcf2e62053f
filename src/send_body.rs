//! [`SendBody`]: the body of a request for handlers that want it `Send` (axum, tonic, actors of other arbiters).
//!
//! What is small and complete travels as octets. Anything else stays on the arbiter of its session, in a table that
//! only this thread reads, and the handle that travels knows its place: on the same thread it reads there, from another
//! one it asks by a message and waits for the answer. Nothing is read ahead, so backpressure is the same from anywhere.
//!
//! Invariant: a place is given up once, by the drop of its handle, wherever that happens.

use std::cell::RefCell;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use slab::Slab;
use stagedoor_actors::{BodyError, RequestBody};
use tokio::sync::{mpsc, oneshot};

/// A complete body of at most so many octets travels as they are: a larger one would be held without its window.
const WHOLE: usize = 16 << 10;

type Pulled = Option<Result<Frame<Bytes>, BodyError>>;

/// The body of a request, from any thread. An [`http_body::Body`] whose data are [`Bytes`]; dropping it unread tells
/// the peer to stop.
///
/// ```
/// fn wants_send<T: Send + 'static>() {}
/// wants_send::<stagedoor::SendBody>();
/// ```
pub struct SendBody(State);

enum State {
    /// Nothing (more) to read.
    Over,
    /// All of it.
    Whole(Bytes),
    /// It is kept at home.
    Away(Away),
}

struct Away {
    home: Arc<Home>,
    place: usize,
    length: Option<u64>,
    /// A question from another thread that is not answered yet.
    asked: Option<oneshot::Receiver<Pulled>>,
}

/// How an arbiter that keeps bodies is reached.
struct Home {
    number: u64,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    /// The next frame of a body. One at a time for each: its handle waits for the answer.
    Pull(usize, oneshot::Sender<Pulled>),
    /// Its handle is gone.
    Drop(usize),
}

/// The bodies of an arbiter that handles of others know.
#[derive(Default)]
struct Kept {
    home: Option<Arc<Home>>,
    bodies: Slab<RequestBody>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

static HOMES: AtomicU64 = AtomicU64::new(0);

impl SendBody {
    /// Takes over the body of a request on its own arbiter.
    ///
    /// # Panics
    /// Outside of an arbiter; bodies that are not empty exist nowhere else.
    #[must_use]
    pub fn new(mut body: RequestBody) -> Self {
        if body.is_empty() {
            return Self(State::Over);
        }
        if let Some(octets) = body.take_whole(WHOLE) {
            return Self(if octets.is_empty() { State::Over } else { State::Whole(octets) });
        }
        let length = body.content_length();
        KEPT.with_borrow_mut(|kept| {
            let home = kept.home();
            let place = kept.bodies.insert(body);
            Self(State::Away(Away { home, place, length, asked: None }))
        })
    }

    /// No body at all.
    #[must_use]
    pub fn empty() -> Self {
        Self(State::Over)
    }
}

impl Kept {
    /// This arbiter's, which answers from now on.
    fn home(&mut self) -> Arc<Home> {
        if let Some(home) = self.home.as_ref().filter(|home| !home.orders.is_closed()) {
            return Arc::clone(home);
        }
        // Unbounded, yet each handle has two orders on its way at most.
        let (orders, heard) = mpsc::unbounded_channel();
        tokio::task::spawn_local(obey(heard));
        let home = Arc::new(Home { number: HOMES.fetch_add(1, Ordering::Relaxed), orders });
        self.home = Some(Arc::clone(&home));
        home
    }
}

/// Answers other threads for as long as there is anybody who could ask.
async fn obey(mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Drop(place) => forget(place),
            Order::Pull(place, mut answer) => {
                tokio::task::spawn_local(async move {
                    let pull = std::future::poll_fn(|cx| poll_kept(place, cx));
                    // Who asked may give up meanwhile.
                    let pulled = {
                        let gone = std::pin::pin!(answer.closed());
                        match select(pull, gone).await {
                            Either::Left((pulled, _)) => pulled,
                            Either::Right(_) => return,
                        }
                    };
                    answer.send(pulled).ok();
                });
            }
        }
    }
}

fn poll_kept(place: usize, cx: &mut Context<'_>) -> Poll<Pulled> {
    KEPT.with_borrow_mut(|kept| match kept.bodies.get_mut(place) {
        Some(body) => Pin::new(body).poll_frame(cx),
        None => Poll::Ready(Some(Err(BodyError::SessionClosed))),
    })
}

fn forget(place: usize) {
    // Dropped after the table is free again: the peer is told.
    let body = KEPT.with_borrow_mut(|kept| kept.bodies.try_remove(place));
    drop(body);
}

impl Away {
    fn is_home(&self) -> bool {
        let here = |kept: &Kept| kept.home.as_ref().is_some_and(|home| home.number == self.home.number);
        KEPT.try_with(|kept| kept.try_borrow().is_ok_and(|kept| here(&kept))).unwrap_or(false)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if self.asked.is_none() && self.is_home() {
            return poll_kept(self.place, cx);
        }
        let asked = self.asked.get_or_insert_with(|| {
            let (answer, asked) = oneshot::channel();
            // Where nobody answers any more the other half is dropped, and so heard.
            self.home.orders.send(Order::Pull(self.place, answer)).ok();
            asked
        });
        let pulled = ready!(Pin::new(asked).poll(cx));
        self.asked = None;
        Poll::Ready(pulled.unwrap_or(Some(Err(BodyError::SessionClosed))))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if self.is_home() {
            forget(self.place);
        } else {
            self.home.orders.send(Order::Drop(self.place)).ok();
        }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pulled> {
        let pulled = match &mut self.0 {
            State::Over => None,
            State::Whole(octets) => {
                let octets = std::mem::take(octets);
                self.0 = State::Over;
                return Poll::Ready(Some(Ok(Frame::data(octets))));
            }
            State::Away(away) => {
                let pulled = ready!(away.poll(cx));
                if let (Some(length), Some(Ok(frame))) = (&mut away.length, &pulled) {
                    *length = length.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
                }
                pulled
            }
        };
        if !matches!(pulled, Some(Ok(_))) {
            self.0 = State::Over;
        }
        Poll::Ready(pulled)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Over => SizeHint::with_exact(0),
            State::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            State::Away(Away { length: Some(length), .. }) => SizeHint::with_exact(*length),
            State::Away(_) => SizeHint::default(),
        }
    }
}

impl SendBody {
    /// The next octets; `None` at the end. Trailers are passed over: [`Self::frame`] has them.
    ///
    /// ```
    /// use stagedoor::{App, BodyError, SendBody, post};
    ///
    /// async fn count(mut body: SendBody) -> Result<String, BodyError> {
    ///     let mut octets = 0;
    ///     while let Some(chunk) = body.chunk().await {
    ///         octets += chunk?.len();
    ///     }
    ///     Ok(format!("{octets} octets\n"))
    /// }
    ///
    /// let app = App::new().route("/", post(count));
    /// # stagedoor::testing::run(async {
    /// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
    /// # let client = server.client().await;
    /// client.post("/", "tea").await.assert_text("3 octets\n");
    /// # });
    /// ```
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match self.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(octets) => return Some(Ok(octets)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next octets or the trailers; `None` at the end.
    pub async fn frame(&mut self) -> Pulled {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
    }

    /// All of it, of at most `limit` octets, with its trailers where there are any.
    ///
    /// ```
    /// use stagedoor::{BodyError, SendBody};
    ///
    /// # stagedoor::testing::run(async {
    /// let (octets, trailers) = SendBody::empty().collect_up_to(1 << 20).await?;
    /// assert!(octets.is_empty() && trailers.is_none());
    /// # Ok::<_, BodyError>(())
    /// # }).unwrap();
    /// ```
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as it is known, and whatever breaks the body.
    pub async fn collect_up_to(self, limit: usize) -> Result<(Bytes, Option<HeaderMap>), BodyError> {
        if self.size_hint().lower() > limit as u64 {
            return Err(BodyError::TooLarge);
        }
        let collected = Limited::new(self, limit).collect().await.map_err(|error| {
            // What is not the body's own is the limit's.
            error.downcast::<BodyError>().map_or(BodyError::TooLarge, |broken| *broken)
        })?;
        let trailers = collected.trailers().cloned();
        Ok((collected.to_bytes(), trailers))
    }
}

impl fmt::Debug for SendBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Over => "over".to_owned(),
            State::Whole(octets) => format!("{} octets", octets.len()),
            State::Away(Away { length, .. }) => {
                length.map_or("open".to_owned(), |l| format!("{l} octets left"))
            }
        };
        f.debug_tuple("SendBody").field(&state).finish()
    }
}
