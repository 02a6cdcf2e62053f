//! An axum application on stagedoor: what it does on its own server it does here, over HTTP/2 with and without TLS and
//! over HTTP/1.1.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::ws::{Message as Said, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Query, Request, State};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use futures_util::{FutureExt as _, SinkExt as _};
use http::{HeaderMap, Uri};
use http_body::Frame;
use http_body_util::BodyExt as _;
use stagedoor::{SendBody, Server, Via, tower};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tower_service::Service;

use crate::site::{Site, sample, within};
use crate::support::client::{Client, Speaks, fed, full, next_octets, nothing};
use crate::support::{run, websocket};

async fn serving(router: Router) -> Site {
    Site::start(Server::new().workers(2).fallback(tower(router))).await
}

/// Runs a test over each protocol in turn.
fn everywhere(router: Router, test: impl AsyncFn(Client, Speaks)) {
    run(async {
        let site = serving(router).await;
        for speaks in Speaks::ALL {
            test(site.client(speaks).await, speaks).await;
        }
        site.stop().await;
    });
}

#[test]
fn extractors_see_what_was_sent() {
    type Words = HashMap<String, String>;
    let seen = |Path((id, tag)): Path<(u64, String)>,
                Query(query): Query<Words>,
                State(state): State<&'static str>,
                Extension(via): Extension<Via>,
                headers: HeaderMap| async move {
        let header = headers["x-said"].to_str().unwrap_or_default().to_owned();
        format!("{id} {tag} {} {state} {} {header}", query["q"], via.session.protocol)
    };
    let router = Router::new()
        .route("/users/{id}/{tag}", get(seen))
        .route("/json", post(|Json(words): Json<Words>| async move { Json(words) }))
        .with_state("shared");
    everywhere(router, async |mut client, speaks| {
        let request = client.request("GET", "/users/7/a%20b?q=c+d").header("x-said", "hello");
        let answer = client.whole(request.body(nothing()).unwrap()).await.unwrap();
        assert_eq!(answer.text(), format!("7 a b c d shared {} hello", speaks.name()));
        assert_eq!(client.get("/users/seven/a").await.status, 400);
        for (kind, body, status) in [
            ("application/json", r#"{"a":"b"}"#, 200),
            ("application/json", "{", 400),
            ("application/json", "[1]", 422),
            ("text/plain", "{}", 415),
        ] {
            let request = client.request("POST", "/json").header("content-type", kind).body(full(body));
            let answer = client.whole(request.unwrap()).await.unwrap();
            assert_eq!(answer.status, status, "{kind} {body}");
            if status == 200 {
                assert_eq!((answer.header("content-type"), answer.text()), (kind, body));
            }
        }
    });
}

#[test]
fn nested_routers_know_where_they_are_and_fallbacks_take_the_rest() {
    let where_am_i = |OriginalUri(whole): OriginalUri, uri: Uri| async move {
        format!("{} in {}", uri.path_and_query().unwrap(), whole.path_and_query().unwrap())
    };
    let inner = Router::new().route("/inner", get(where_am_i));
    let router = Router::new()
        .route("/", get(async || "root"))
        .nest("/api", inner)
        .fallback(async |uri: Uri| (http::StatusCode::NOT_FOUND, format!("no {}", uri.path())));
    everywhere(router, async |mut client, _| {
        assert_eq!(client.get("/api/inner?x=1").await.text(), "/inner?x=1 in /api/inner?x=1");
        for target in ["/api/other", "/else"] {
            let answer = client.get(target).await;
            assert_eq!((answer.status, answer.text()), (404, &*format!("no {target}")));
        }
        let answer = client.bare("DELETE", "/").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
        let answer = client.bare("HEAD", "/").await;
        assert_eq!((answer.status, answer.header("content-length"), answer.text()), (200, "4", ""));
    });
}

/// Tells when it is dropped.
struct Parting(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.send(self.1).ok();
    }
}

#[test]
fn events_come_one_by_one_and_their_source_goes_with_the_client() {
    run(async {
        let (told, mut parted) = mpsc::unbounded_channel();
        let events = move || {
            let parting = Parting(told.clone(), "events");
            async move {
                let events =
                    stream::iter(1..=2).map(|number| Event::default().id(number.to_string()).data("tick"));
                let events = events.chain(stream::pending()).map(move |event| {
                    let _ = &parting;
                    Ok::<_, Infallible>(event)
                });
                Sse::new(events)
            }
        };
        let site = serving(Router::new().route("/events", get(events))).await;
        for speaks in Speaks::ALL {
            let mut client = site.client(speaks).await;
            let request = client.request("GET", "/events").body(nothing()).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut body = response.into_body();
            let mut text = String::new();
            while text.matches("\n\n").count() < 2 {
                text.push_str(std::str::from_utf8(&next_octets(&mut body).await.unwrap().unwrap()).unwrap());
            }
            assert_eq!(text, "id: 1\ndata: tick\n\nid: 2\ndata: tick\n\n");
            drop((body, client));
            // On HTTP/1.1 an end of the client's side may mean that it has nothing more to ask: who goes is noticed when the next
            // event is sent.
            if speaks.is_http2() {
                assert_eq!(within(parted.recv()).await, Some("events"), "{speaks:?}");
            }
        }
        site.stop().await;
    });
}

#[test]
fn a_websocket_echoes_over_every_protocol() {
    let upgrade = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket: WebSocket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Said::Text(_) | Said::Binary(_)) && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    everywhere(Router::new().route("/ws", any(upgrade)), async |mut client, speaks| {
        let mut socket = websocket::open(&mut client, speaks).await;
        for message in [Message::text("hello"), Message::binary(sample(300_000)), Message::text("")] {
            socket.send(message.clone()).await.unwrap();
            assert!(within(socket.next()).await.unwrap().unwrap() == message, "{speaks:?}");
        }
        socket.close(None).await.unwrap();
        assert!(matches!(within(socket.next()).await, Some(Ok(Message::Close(None)))), "{speaks:?}");
        assert!(within(socket.next()).await.is_none());
    });
}

#[test]
fn a_body_above_its_limit_is_refused() {
    let router = Router::new()
        .route("/octets", post(async |octets: Bytes| octets.len().to_string()))
        .layer(DefaultBodyLimit::max(16));
    run(async {
        let site = serving(router).await;
        for speaks in Speaks::ALL {
            for (octets, status) in [(16, 200), (17, 413)] {
                let answer = site.client(speaks).await.post("/octets", "x".repeat(octets)).await;
                assert_eq!(answer.status, status, "{speaks:?} {octets}");
            }
        }
        site.stop().await;
    });
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let router = Router::new().route("/echo", post(async |request: Request| request.into_body()));
    everywhere(router, async |mut client, speaks| {
        let (feed, upload) = fed();
        feed.send(Frame::data(Bytes::from_static(b"piece 0"))).unwrap();
        let request = client.request("POST", "/echo").body(upload).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        for piece in 0..10 {
            let octets = within(next_octets(&mut body)).await.unwrap().unwrap();
            assert_eq!(octets, format!("piece {piece}"), "{speaks:?}: it comes before the next is sent");
            feed.send(Frame::data(Bytes::from(format!("piece {}", piece + 1)))).unwrap();
        }
        let long = Bytes::from(sample(4 << 20));
        feed.send(Frame::data(long.clone())).unwrap();
        drop(feed);
        let rest = within(body.collect()).await.unwrap().to_bytes();
        assert!(rest == [&b"piece 10"[..], &long].concat(), "{speaks:?}: {} octets", rest.len());
    });
}

#[test]
fn a_handler_that_panics_takes_its_own_stream_alone() {
    let router = Router::new()
        .route("/echo", post(async |request: Request| request.into_body()))
        .route("/", get(async || "here"))
        .route("/panics", get(async |uri: Uri| assert!(uri.path().is_empty(), "on purpose")));
    run(async {
        let site = serving(router).await;
        for speaks in Speaks::ALL {
            let mut client = site.client(speaks).await;
            assert_eq!(client.get("/panics").await.status, 500, "{speaks:?}");
            if !speaks.is_http2() {
                // An exchange is all there is to a connection of HTTP/1.1 at that moment: it goes with it.
                assert_eq!(site.client(speaks).await.get("/").await.text(), "here");
                continue;
            }
            assert_eq!(client.get("/").await.text(), "here", "{speaks:?}: the session goes on");
            let (feed, upload) = fed();
            let request = client.request("POST", "/echo").body(upload).unwrap();
            let mut neighbour = client.send(request).await.unwrap().into_body();
            assert_eq!(client.get("/panics").await.status, 500);
            feed.send(Frame::data(Bytes::from_static(b"untouched"))).unwrap();
            assert_eq!(next_octets(&mut neighbour).await.unwrap().unwrap(), "untouched");
        }
        site.stop().await;
    });
}

#[test]
fn a_body_that_fails_resets_its_stream() {
    let broken = async || {
        let pieces = [Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("on purpose"))];
        // The error comes when half of it is on its way.
        let pieces = stream::iter(pieces).then(async |piece| {
            tokio::task::yield_now().await;
            piece
        });
        Body::from_stream(Box::pin(pieces))
    };
    everywhere(Router::new().route("/", get(broken)), async |mut client, speaks| {
        let request = client.request("GET", "/").body(nothing()).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let error = loop {
            match within(next_octets(&mut body)).await.expect("it does not end well") {
                Ok(octets) => assert_eq!(octets, "half"),
                Err(error) => break error,
            }
        };
        let code = speaks.is_http2().then_some(h2::Reason::INTERNAL_ERROR);
        assert_eq!(error.code(), code, "{speaks:?}: {error}");
    });
}

/// The octets of a body, counted wherever this runs.
async fn counted(mut body: Body) -> String {
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        octets += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    octets.to_string()
}

#[test]
fn a_body_is_read_by_tasks_and_threads_of_others() {
    let spawned = |request: Request| async move { tokio::spawn(counted(request.into_body())).await.unwrap() };
    let threaded = |request: Request| async move {
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            tell.send(runtime.block_on(counted(request.into_body()))).unwrap();
        });
        told.await.unwrap()
    };
    let router = Router::new().route("/task", post(spawned)).route("/thread", post(threaded));
    everywhere(router, async |mut client, speaks| {
        for octets in [0, 10, 16 << 10, (16 << 10) + 1, 8 << 20] {
            for path in ["/task", "/thread"] {
                let answer = within(client.post(path, sample(octets))).await;
                assert_eq!(answer.text(), octets.to_string(), "{speaks:?} {path}");
            }
        }
    });
}

/// A service with one place: it is ready when that is free.
struct OneAtATime<S> {
    inner: S,
    place: Arc<Semaphore>,
    waits: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>>,
    taken: Option<OwnedSemaphorePermit>,
}

impl<S> OneAtATime<S> {
    fn new(inner: S) -> Self {
        Self { inner, place: Arc::new(Semaphore::new(1)), waits: None, taken: None }
    }
}

impl<S: Clone> Clone for OneAtATime<S> {
    fn clone(&self) -> Self {
        // That one is ready says nothing of its clones.
        Self { inner: self.inner.clone(), place: Arc::clone(&self.place), waits: None, taken: None }
    }
}

impl<S> Service<http::Request<SendBody>> for OneAtATime<S>
where
    S: Service<http::Request<SendBody>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.taken.is_none() {
            let place = &self.place;
            let waits = self.waits.get_or_insert_with(|| {
                let place = Arc::clone(place);
                Box::pin(async move { place.acquire_owned().await.expect("it is never closed") })
            });
            let Poll::Ready(taken) = waits.poll_unpin(cx) else { return Poll::Pending };
            (self.waits, self.taken) = (None, Some(taken));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<SendBody>) -> Self::Future {
        let taken = self.taken.take().expect("it was asked whether it is ready");
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _taken = taken;
            answer.await
        })
    }
}

#[test]
fn a_layer_that_says_when_it_is_ready_is_listened_to() {
    run(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (Arc::clone(&now), Arc::clone(&most));
        let handler = move || {
            let (now, most) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                "done"
            }
        };
        let service = OneAtATime::new(Router::new().route("/", get(handler)));
        let site = Site::start(Server::new().workers(2).fallback(tower(service))).await;
        let mut asked = Vec::new();
        for speaks in Speaks::ALL {
            let client = site.client(speaks).await;
            let clients: Vec<Client> =
                if speaks.is_http2() { (0..20).map(|_| client.share()).collect() } else { vec![client] };
            asked.extend(
                clients
                    .into_iter()
                    .map(|mut client| tokio::spawn(async move { client.get("/").await.status })),
            );
        }
        for asked in asked {
            assert_eq!(within(asked).await.unwrap(), 200);
        }
        assert_eq!((now.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (0, 1));
        site.stop().await;
    });
}

#[test]
fn a_service_that_fails_answers_500_and_its_words_stay_here() {
    #[derive(Clone)]
    struct Fails;

    impl Service<http::Request<SendBody>> for Fails {
        type Response = http::Response<String>;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<SendBody>) -> Self::Future {
            std::future::ready(Err(std::io::Error::other("a secret")))
        }
    }

    run(async {
        let site = Site::start(Server::new().fallback(tower(Fails))).await;
        for speaks in Speaks::ALL {
            let answer = site.client(speaks).await.get("/").await;
            assert_eq!((answer.status, answer.text()), (500, "internal server error\n"));
        }
        site.stop().await;
    });
}
