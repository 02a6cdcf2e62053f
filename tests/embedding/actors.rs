//! Actors of the application that answer requests from their mailboxes, on the arbiter of the sessions and on others.

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use stagedoor::actor::{Gone, OnArbiters as _, RespondError, StreamRequest, forward, mailbox};
use stagedoor::client::{Options, RequestOptions, RequestParts, connect};
use stagedoor::{
    Body, Endpoint, Event, Events, Fields, Outcome, Response, SendBody, Server, StatusCode, Window, Windows,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::site::{Site, becomes, sample, system, until, within};
use crate::support::client::{Answer, Speaks, fed, nothing};
use crate::support::raw::{ACK, DATA, HEADERS, PING, Raw, WINDOW_UPDATE};

/// Requests that may wait for a [`Desk`].
const WAITING: usize = 1;

/// An actor that is asked by requests, and takes the next one when it is done with the last.
struct Desk<F>(F);

impl<F: Unpin + 'static> Actor for Desk<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(WAITING);
    }
}

impl<F, Fut> Handler<StreamRequest> for Desk<F>
where
    F: FnMut(StreamRequest) -> Fut + Unpin + 'static,
    Fut: Future<Output = ()> + 'static,
{
    type Result = ();

    fn handle(&mut self, request: StreamRequest, ctx: &mut Self::Context) {
        let answer = (self.0)(request);
        ctx.wait(answer.into_actor(self));
    }
}

/// Its order to go.
struct Leave;

impl Message for Leave {
    type Result = ();
}

impl<F: Unpin + 'static> Handler<Leave> for Desk<F> {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// A desk on an arbiter, as what answers.
fn desk<F, Fut>(arbiter: &ArbiterHandle, answer: F) -> Endpoint
where
    F: FnMut(StreamRequest) -> Fut + Send + Unpin + 'static,
    Fut: Future<Output = ()> + 'static,
{
    mailbox(Desk::start_in_arbiter(arbiter, move |_| Desk(answer)).recipient())
}

/// A server whose every path one endpoint answers, with one worker.
async fn serving(endpoint: Endpoint) -> Site {
    Site::start(Server::new().workers(1).mount("/", endpoint)).await
}

/// Status and cause of the next stream that ends.
async fn ended(events: &mut Events) -> (u16, Option<&'static str>) {
    until(events, |event| match event {
        Event::StreamClosed { status, cause, .. } => Some((status, cause)),
        _ => None,
    })
    .await
}

#[test]
fn an_actor_answers_on_the_arbiter_of_its_sessions() {
    system(async {
        let here = Arbiter::current();
        let home = std::thread::current().id();
        let answer = move |request: StreamRequest| async move {
            assert_eq!(std::thread::current().id(), home);
            let words = format!(
                "{} {} {} {}\n",
                request.method().unwrap(),
                request.uri().unwrap().path(),
                request.headers()["x-said"].to_str().unwrap(),
                request.params.get("name").unwrap_or_default(),
            );
            assert!(request.session.protocol.starts_with("h") && !request.is_gone());
            request.respond((StatusCode::ACCEPTED, words)).unwrap();
        };
        let server = Server::new().on_arbiters([here.clone()]).route("/jobs/{name}", desk(&here, answer));
        let site = Site::start(server).await;
        for speaks in Speaks::ALL {
            let mut client = site.client(speaks).await;
            let request =
                client.request("PUT", "/jobs/one").header("x-said", "hello").body(nothing()).unwrap();
            let answer = client.whole(request).await.unwrap();
            assert_eq!((answer.status, answer.text()), (202, "PUT /jobs/one hello one\n"));
        }
        site.stop().await;
    });
}

/// Gives a request its own body back, trailers and all.
async fn echo(mut request: StreamRequest) {
    let body = std::mem::replace(&mut request.body, SendBody::empty());
    request.respond_with(http::Response::new(body)).unwrap();
}

#[test]
fn bodies_pass_between_arbiters_both_ways_with_their_trailers() {
    system(async {
        let away = Arbiter::new();
        let site = serving(desk(&away.handle(), echo)).await;
        // Many times what any window holds.
        let octets = Bytes::from(sample(16 << 20));
        for speaks in Speaks::ALL {
            let mut client = site.client(speaks).await;
            let (feed, upload) = fed();
            for piece in 0..256 {
                feed.send(Frame::data(octets.slice(piece << 16..(piece + 1) << 16))).unwrap();
            }
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "all of it".parse().unwrap())]);
            feed.send(Frame::trailers(trailers)).unwrap();
            drop(feed);
            let request = client.request("POST", "/").header("trailer", "x-sum").header("te", "trailers");
            let answer = client.whole(request.body(upload).unwrap()).await.unwrap();
            assert!(answer.body == octets, "{speaks:?}: {} octets", answer.body.len());
            if speaks.is_http2() {
                assert_eq!(answer.trailers.unwrap()["x-sum"], "all of it");
            }
        }
        site.stop().await;
        away.stop();
    });
}

#[test]
fn an_answer_that_is_known_whole_arrives_as_it_was_made() {
    system(async {
        let away = Arbiter::new();
        let answer = |request: StreamRequest| async move {
            let sum = Fields::from_iter([("x-sum", "5")]);
            let response = Response::text("hello").with_trailers(sum).without_date();
            request.respond(response).unwrap();
        };
        let site = serving(desk(&away.handle(), answer)).await;
        let answer = site.client(Speaks::H2c).await.get("/").await;
        assert_eq!((answer.text(), answer.header("date")), ("hello", ""));
        assert_eq!(answer.trailers.unwrap()["x-sum"], "5");
        site.stop().await;
        away.stop();
    });
}

#[test]
fn an_actor_elsewhere_makes_its_answer_while_it_is_sent() {
    system(async {
        let away = Arbiter::new();
        let home = std::thread::current().id();
        let answer = move |request: StreamRequest| async move {
            assert_ne!(std::thread::current().id(), home);
            let pieces =
                stream::iter(0..1000_u32).map(|number| Frame::data(Bytes::from(format!("{number}\n"))));
            let end = Frame::trailers(HeaderMap::from_iter([("x-lines".parse().unwrap(), 1000_u32.into())]));
            let frames = pieces.chain(stream::iter([end])).map(Ok::<_, std::io::Error>);
            request.respond_with(http::Response::new(StreamBody::new(frames))).unwrap();
        };
        let site = serving(desk(&away.handle(), answer)).await;
        let answer = site.client(Speaks::H2).await.get("/").await;
        let lines: Vec<u32> = answer.text().lines().map(|line| line.parse().unwrap()).collect();
        assert!(lines.iter().copied().eq(0..1000));
        assert_eq!(answer.trailers.unwrap()["x-lines"], "1000");
        site.stop().await;
        away.stop();
    });
}

#[test]
fn what_an_actor_elsewhere_does_not_read_its_client_cannot_send() {
    const WINDOW: u32 = 65_535;
    system(async {
        let away = Arbiter::new();
        let gate = Arc::new(Semaphore::new(0));
        let (counted, mut count) = mpsc::unbounded_channel();
        let reading = Arc::clone(&gate);
        let answer = move |mut request: StreamRequest| {
            let (reading, counted) = (Arc::clone(&reading), counted.clone());
            async move {
                reading.acquire().await.unwrap().forget();
                let mut octets = 0;
                while let Some(chunk) = request.body.chunk().await {
                    octets += chunk.unwrap().len();
                }
                counted.send(octets).unwrap();
                request.respond("read").unwrap();
            }
        };
        let least = Window { start: WINDOW, max: WINDOW };
        let windows = Windows { stream: least, connection: Window { start: 1 << 20, max: 1 << 20 } };
        let server = Server::new().workers(1).windows(windows).mount("/", desk(&away.handle(), answer));
        let site = Site::start(server).await;
        let address = site.plain();
        let client = tokio::task::spawn_blocking(move || {
            let mut client = Raw::connect(address, WINDOW);
            let fill = |client: &mut Raw, end: bool| {
                for piece in [16_384; 3].into_iter().chain([16_383]).enumerate() {
                    client.frame(DATA, u8::from(end && piece.0 == 3), 1, &vec![7; piece.1]);
                }
            };
            client.request(1, "POST", "/", false);
            fill(&mut client, false);
            client.frame(PING, 0, 0, b"all came");
            loop {
                let frame = client.next().unwrap();
                assert!(frame.kind != WINDOW_UPDATE || frame.stream != 1, "nobody has read");
                if frame.kind == PING && frame.flags & ACK != 0 {
                    break;
                }
            }
            gate.add_permits(1);
            let mut room = 0;
            while room < WINDOW {
                let frame = client.next_of(WINDOW_UPDATE);
                room += if frame.stream == 1 { frame.number(0) } else { 0 };
            }
            fill(&mut client, true);
            client.next_of(HEADERS);
            client.body(1, 4)
        });
        assert_eq!(within(client).await.unwrap(), b"read");
        assert_eq!(count.recv().await, Some(2 * WINDOW as usize));
        site.stop().await;
        away.stop();
    });
}

#[test]
fn a_full_mailbox_asks_clients_to_come_back_and_serves_those_it_took() {
    const ASKED: usize = 32;
    system(async {
        let away = Arbiter::new();
        let gate = Arc::new(Semaphore::new(0));
        let slow = Arc::clone(&gate);
        let answer = move |request: StreamRequest| {
            let slow = Arc::clone(&slow);
            async move {
                slow.acquire().await.unwrap().forget();
                request.respond("served").unwrap();
            }
        };
        let server = Server::new().workers(1).mount("/", desk(&away.handle(), answer));
        let mut events = server.events();
        let site = Site::start(server).await;
        let client = site.client(Speaks::H2c).await;
        let (tell, mut told) = mpsc::unbounded_channel::<Answer>();
        for _ in 0..ASKED {
            let (mut client, tell) = (client.share(), tell.clone());
            actix_rt::spawn(async move { tell.send(client.get("/").await).unwrap() });
        }
        // One is served, one waits, and actix lets each of its senders have one more.
        let most = 1 + WAITING + 2;
        for _ in most..ASKED {
            let refused = within(told.recv()).await.unwrap();
            assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
            assert_eq!(ended(&mut events).await, (503, Some("mailbox_full")));
        }
        gate.add_permits(ASKED);
        let mut served = 0;
        for _ in 0..most {
            let answer = within(told.recv()).await.unwrap();
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            served += usize::from(answer.status == 200);
        }
        assert!(served >= WAITING, "{served} were taken");
        assert_eq!(client.share().get("/").await.text(), "served", "there is room again");
        site.stop().await;
        away.stop();
    });
}

#[test]
fn an_actor_that_is_gone_is_no_answer() {
    system(async {
        let actor = Desk(|request: StreamRequest| async move { request.respond("here").unwrap() }).start();
        let server = Server::new().workers(1).mount("/", mailbox(actor.clone().recipient()));
        let mut events = server.events();
        let site = Site::start(server).await;
        let mut client = site.client(Speaks::Http1).await;
        assert_eq!(client.get("/").await.text(), "here");
        assert_eq!(ended(&mut events).await, (200, None));
        actor.send(Leave).await.unwrap();
        becomes("the actor is gone", || !actor.connected()).await;
        assert_eq!(client.get("/").await.status, 500);
        assert_eq!(ended(&mut events).await, (500, Some("actor_gone")));
        site.stop().await;
    });
}

#[test]
fn a_request_that_is_dropped_or_answered_with_what_cannot_travel_is_500() {
    system(async {
        let (told, mut said) = mpsc::unbounded_channel();
        let away = Arbiter::new();
        let answer = move |request: StreamRequest| {
            let told = told.clone();
            async move {
                if request.head.path() == Some("/local") {
                    let local =
                        Response::new(200).with_body(Body::stream(http_body_util::Empty::<Bytes>::new()));
                    told.send(request.respond(local)).unwrap();
                }
            }
        };
        let server = Server::new().workers(1).mount("/", desk(&away.handle(), answer));
        let mut events = server.events();
        let site = Site::start(server).await;
        let mut client = site.client(Speaks::H2).await;
        for path in ["/dropped", "/local"] {
            assert_eq!(client.get(path).await.status, 500);
            assert_eq!(ended(&mut events).await, (500, Some("not_answered")));
        }
        assert_eq!(said.recv().await, Some(Err(RespondError::Local)));
        site.stop().await;
        away.stop();
    });
}

#[test]
fn a_client_that_goes_is_told_to_the_actor_and_its_answer_refused() {
    system(async {
        let (told, mut said) = mpsc::unbounded_channel();
        let (took, mut taken) = mpsc::unbounded_channel();
        let away = Arbiter::new();
        let answer = move |mut request: StreamRequest| {
            let (told, took) = (told.clone(), took.clone());
            async move {
                took.send(request.is_gone()).unwrap();
                request.gone().await;
                assert!(request.is_gone());
                let refused = match request.head.path() {
                    Some("/whole") => request.respond("late"),
                    _ => {
                        let body = http_body_util::Full::new(Bytes::from_static(b"late")).boxed();
                        request.respond_with(http::Response::new(body)).map_err(RespondError::from)
                    }
                };
                told.send(refused).unwrap();
            }
        };
        let server = Server::new().workers(1).mount("/", desk(&away.handle(), answer));
        let mut events = server.events();
        let site = Site::start(server).await;
        let session = connect(&format!("http://{}", site.plain()), Options::default()).unwrap();
        for path in ["/whole", "/streamed"] {
            let stream = session.request(RequestParts::get(path), RequestOptions::default()).unwrap();
            assert_eq!(within(taken.recv()).await, Some(false));
            drop(stream);
            assert_eq!(within(said.recv()).await, Some(Err(RespondError::Gone(Gone))));
            let outcome = until(&mut events, |event| match event {
                Event::StreamClosed { outcome, .. } => Some(outcome),
                _ => None,
            });
            assert_eq!(outcome.await, Outcome::ResetByPeer);
        }
        site.stop().await;
        away.stop();
    });
}

/// Writes down what happens in a server.
struct Diary {
    written: Vec<&'static str>,
    whole: Option<oneshot::Sender<Vec<&'static str>>>,
}

impl Actor for Diary {
    type Context = Context<Self>;
}

impl Handler<Event> for Diary {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        self.written.push(match event {
            Event::SessionOpened { .. } => "session opened",
            Event::StreamOpened { .. } => "stream opened",
            Event::StreamClosed { status: 200, .. } => "stream answered",
            Event::SessionClosed { .. } => {
                let written = std::mem::take(&mut self.written);
                if let Some(whole) = self.whole.take() {
                    whole.send(written).unwrap();
                }
                return;
            }
            _ => return,
        });
    }
}

#[test]
fn what_happens_in_a_server_comes_to_an_actor_of_any_arbiter() {
    system(async {
        let away = Arbiter::new();
        let (tell, told) = oneshot::channel();
        let diary =
            Diary::start_in_arbiter(&away.handle(), move |_| Diary { written: vec![], whole: Some(tell) });
        let server = crate::site::hello();
        let forwarding = forward(server.events(), diary.recipient());
        let site = Site::start(server).await;
        let mut client = site.client(Speaks::H2c).await;
        for _ in 0..2 {
            assert_eq!(client.get("/").await.status, 200);
        }
        drop(client);
        let written = within(told).await.unwrap();
        let stream = ["stream opened", "stream answered"];
        assert_eq!(written[0], "session opened");
        assert_eq!(written[1..], [stream, stream].concat());
        site.stop().await;
        assert_eq!(within(forwarding).await.unwrap(), 0, "nothing was lost");
        away.stop();
    });
}
