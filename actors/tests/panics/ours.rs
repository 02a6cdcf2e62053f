//! In sessions of ours: bodies that are uploaded, connectors, observers of octets.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use stagedoor_actors::client::{
    ClientSession, Connector, Options, RequestOptions, RequestParts, SessionEnd, StreamError, WireObserver,
    connect,
};
use stagedoor_actors::{Body, CloseSession, Response};
use stagedoor_metrics::{ActorKind, CloseReason, ListenerCells, Outcome};

use crate::Bomb;
use crate::common::{Stage, config, run_paused, service, settle};

struct Two {
    stage: Stage,
    cells: std::sync::Arc<ListenerCells>,
    session: ClientSession,
    other: ClientSession,
}

fn options(stage: &Stage) -> Options {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    stage.host.spawn_session(theirs, None);
    Options { metrics: Some(stage.metrics.clone()), ..Options::with_connector(Connector::over(ours)) }
}

async fn fine(session: &ClientSession) -> bool {
    let Ok(mut stream) = session.request("/", RequestOptions::default()) else { return false };
    stream.response().await.is_ok_and(|head| head.status == 200) && stream.closed().await.is_ok()
}

impl Two {
    /// Two sessions of ours to one server; one of them has `change` in its options.
    fn new(streams: u32, change: impl FnOnce(Options) -> Options) -> Self {
        let mut config = config();
        config.limits.streams_per_session = streams;
        let echo = service(|request| match request.head.path() {
            Some("/echo") => Response::new(200).with_body(Body::stream(request.body)).into(),
            _ => Response::new(200).into(),
        });
        let stage = Stage::with(config, echo);
        let session = connect("http://b", change(options(&stage))).unwrap();
        let other = connect("http://b", options(&stage)).unwrap();
        let cells = stage.shard.listener(stage.metrics.add_listener("client", "-"));
        Self { stage, cells, session, other }
    }

    fn upload(&self, fate: &'static str) -> stagedoor_actors::client::ClientStream {
        let bomb = (fate == "dropped").then(|| Bomb);
        let body = Body::stream(Upload { left: 2, fate, _bomb: bomb });
        self.session.request(RequestParts::post("/echo"), RequestOptions::with_body(body)).unwrap()
    }

    fn counted(&self, streams: u64, sessions: u64) {
        let actors = self.stage.shard.actors();
        assert_eq!(actors[ActorKind::Stream].panics.get(), streams, "panics of streams");
        assert_eq!(actors[ActorKind::Session].panics.get(), sessions, "panics of sessions");
        assert_eq!(actors[ActorKind::Stream].alive.get(), 0);
    }
}

/// Two pieces, then the end; panics there, or when it is dropped.
struct Upload {
    left: usize,
    fate: &'static str,
    _bomb: Option<Bomb>,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            assert!(self.fate != "end", "an upload, on purpose");
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

/// The request ends, its session and the requests beside it go on.
#[test]
fn in_an_upload_it_is_the_end_of_the_request() {
    run_paused(async {
        let two = Two::new(100, |options| options);
        let stream = two.upload("end");
        assert!(matches!(stream.closed().await, Err(StreamError::BodyFailed)));
        assert!(fine(&two.session).await && fine(&two.other).await);
        settle().await;
        two.counted(1, 0);
        assert_eq!(two.cells.streams_closed[Outcome::Panic].get(), 1);
        assert_eq!(two.stage.outcome(Outcome::ResetByPeer), 1, "the server is told");
    });
}

/// All of it was sent, and the response is whole.
#[test]
fn in_the_destructor_of_an_upload_it_is_nothing_to_the_request() {
    run_paused(async {
        let two = Two::new(100, |options| options);
        let mut stream = two.upload("dropped");
        assert_eq!(stream.response().await.unwrap().status, 200);
        let mut got = 0;
        while let Some(chunk) = stream.chunk().await {
            got += chunk.unwrap().len();
        }
        assert_eq!(got, 10);
        stream.closed().await.unwrap();
        assert!(fine(&two.session).await && fine(&two.other).await);
        settle().await;
        two.counted(1, 0);
        assert_eq!(two.cells.streams_closed[Outcome::Panic].get(), 1);
    });
}

/// Requests that wait are dropped by their session, outside of any actor.
#[test]
fn in_the_destructor_of_an_upload_that_waits_it_is_nothing_to_the_session() {
    run_paused(async {
        let two = Two::new(1, |options| options);
        two.session.ready().await.unwrap();
        let mut first = two.session.request(RequestParts::post("/echo"), RequestOptions::default()).unwrap();
        first.opened().await.unwrap();
        let waiting = two.upload("dropped");
        settle().await;
        assert_eq!(two.session.queued(), 1, "the server takes one at a time");
        two.session.end(CloseSession::new(CloseReason::Drain));
        assert!(matches!(waiting.closed().await, Err(StreamError::Closing)));
        // What was sent goes through.
        first.finish().await.unwrap();
        assert_eq!(first.response().await.unwrap().status, 200);
        first.closed().await.unwrap();
        let SessionEnd::Closed { reason, .. } = two.session.ended().await else { panic!("closed") };
        assert_eq!(reason, CloseReason::Drain);
        assert!(fine(&two.other).await);
        settle().await;
        two.counted(0, 0);
    });
}

/// It runs in the session it is to connect: that one is over before it began.
#[test]
fn in_a_connector_it_is_the_end_of_its_session() {
    run_paused(async {
        let connector = Connector::with(|_| async { panic!("a connector, on purpose") });
        let two = Two::new(100, |options| Options { connector, ..options });
        let request = two.session.request("/", RequestOptions::default()).unwrap();
        let SessionEnd::Closed { reason, .. } = two.session.ready().await.unwrap_err() else {
            panic!("it was told")
        };
        assert_eq!(reason, CloseReason::Panic);
        assert!(request.closed().await.unwrap_err().is_retry_safe(), "nothing was sent");
        assert!(fine(&two.other).await);
        settle().await;
        two.counted(0, 1);
    });
}

struct Panics;

impl WireObserver for Panics {
    fn sent(&self, octets: &[u8]) {
        panic!("sent {}, on purpose", octets.len());
    }

    fn received(&self, octets: &[u8]) {
        panic!("received {}, on purpose", octets.len());
    }
}

/// It is not asked again.
#[test]
fn in_an_observer_of_octets_it_is_nothing_to_the_session() {
    run_paused(async {
        let two = Two::new(100, |options| Options { wire: Some(Rc::new(Panics)), ..options });
        assert!(fine(&two.session).await && fine(&two.other).await);
        settle().await;
        two.counted(0, 0);
    });
}
