//! The client against our own server: requests, bodies both ways, what is sent when, and who cancels.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{Stage, config, forever, hello, run, run_paused, service, settle};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use stagedoor_actors::client::{
    AbortHandle, ClientSession, Connector, Error, Event, Line, Options, RequestError, RequestOptions,
    RequestParts, SendError, SessionEnd, StreamError, StreamState, connect,
};
use stagedoor_actors::{Body, Host, Limits, Reply, Response, Service, SessionEvent};
use stagedoor_metrics::{CloseReason, ConnectionResult, Outcome, Protocol};
use stagedoor_protocol::message::Malformed;
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, UserError};

/// A client of a session of `host`, over a pipe.
fn client_of(host: &Rc<Host>) -> ClientSession {
    client_with(host, Options::default())
}

fn client_with(host: &Rc<Host>, options: Options) -> ClientSession {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    host.spawn_session(theirs, None);
    let options = Options { connector: Connector::over(ours), ..options };
    connect("http://example.com", options).expect("an authority")
}

fn get(session: &ClientSession) -> stagedoor_actors::client::ClientStream {
    session.request("/", RequestOptions::default()).expect("a good request")
}

/// Sends the body of the request back, trailers too.
fn echo() -> Rc<dyn Service> {
    service(|request| Response::new(200).with_body(Body::stream(request.body)).into())
}

/// Says what it was asked for.
fn mirror() -> Rc<dyn Service> {
    service(|request| {
        let head = &request.head;
        let said = format!(
            "{} {} {} {} host={} length={}",
            head.method(),
            head.scheme().unwrap_or("-"),
            head.authority().unwrap_or("-"),
            head.path().unwrap_or("-"),
            head.fields().contains("host"),
            head.content_length().map_or_else(|| "-".to_owned(), |length| length.to_string()),
        );
        Response::text(said).into()
    })
}

async fn text(stream: stagedoor_actors::client::ClientStream) -> String {
    let whole = stream.into_body().collect_up_to(1 << 20).await.expect("a whole body");
    String::from_utf8(whole.to_vec()).expect("text")
}

#[test]
fn a_get_brings_head_and_body() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_of(&stage.host);
        let mut stream = get(&session);
        assert_eq!((stream.state(), stream.id()), (StreamState::Pending, None));
        let head = stream.response().await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.fields.get("content-length"), Some(&b"13"[..]));
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "hello, world\n");
        assert!(stream.chunk().await.is_none());
        stream.closed().await.unwrap();
        assert_eq!((stream.id().unwrap().get(), stream.state()), (1, StreamState::Closed));
        assert_eq!(stream.code(), Some(ErrorCode::NO_ERROR));
    });
}

#[test]
fn what_a_request_leaves_out_comes_from_the_session() {
    run(async {
        let stage = Stage::new(mirror());
        let session = client_of(&stage.host);
        let ask = async |parts: RequestParts| {
            text(session.request(parts, RequestOptions::default()).expect("a good request")).await
        };
        assert_eq!(ask(RequestParts::default()).await, "GET http example.com / host=false length=-");
        let hosted = RequestParts::get("/x?y").with_field("host", "other");
        assert_eq!(ask(hosted).await, "GET http other /x?y host=true length=-");
        let elsewhere = RequestParts::get("/").with_authority("elsewhere:81");
        assert_eq!(ask(elsewhere).await, "GET http elsewhere:81 / host=false length=-");
        assert_eq!(
            ask(RequestParts::new("DELETE", "/")).await,
            "DELETE http example.com / host=false length=-"
        );
        let options = RequestOptions::with_body(Body::Full(Bytes::from_static(b"12345")));
        let stream = session.request(RequestParts::new("PUT", "/"), options).unwrap();
        assert_eq!(text(stream).await, "PUT http example.com / host=false length=5");
        let stream =
            session.request(RequestParts::post("/"), RequestOptions::with_body(Body::Empty)).unwrap();
        assert_eq!(text(stream).await, "POST http example.com / host=false length=0");
    });
}

#[test]
fn the_easy_layer_speaks_the_types_of_the_http_crate() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let request = http::Request::post("/echo").header("x-a", "b").body("over there").unwrap();
        let response = session.send(request).await.unwrap();
        assert_eq!((response.status(), response.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole, "over there");
        let bad = http::Request::get("/").header("connection", "close").body(()).unwrap();
        let error = session.send(bad).await.unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::Invalid(_))), "{error}");
    });
}

#[test]
fn octets_and_trailers_go_both_ways_as_the_caller_sends_them() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let mut stream = session.request(RequestParts::post("/"), RequestOptions::default()).unwrap();
        stream.send_data(Bytes::from_static(b"one ")).await.unwrap();
        assert_eq!(stream.response().await.unwrap().status, 200);
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "one ");
        stream.send_data(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "two");
        let bad: Fields = [("bad\r\n", "x")].into_iter().collect();
        assert!(matches!(stream.send_trailers(bad).await, Err(SendError::Invalid(_))));
        stream.send_trailers([("x-sum", "7")].into_iter().collect()).await.unwrap();
        assert!(stream.chunk().await.is_none());
        assert_eq!(stream.trailers().unwrap().get("x-sum"), Some(&b"7"[..]));
        assert!(matches!(stream.send_data(Bytes::from_static(b"x")).await, Err(SendError::Ended)));
        assert!(matches!(stream.finish().await, Err(SendError::Ended)));
        stream.closed().await.unwrap();
    });
}

#[test]
fn a_body_that_is_produced_is_sent_as_the_server_takes_it() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let made = Rc::new(Cell::new(0_usize));
        let counted = Rc::clone(&made);
        let frames = futures_util::stream::iter((0..400_u32).map(move |number| {
            counted.set(counted.get() + 1);
            let octets = Bytes::from(vec![number as u8; 10_000]);
            Ok::<_, std::io::Error>(http_body::Frame::data(octets))
        }));
        let options = RequestOptions::with_body(Body::stream(StreamBody::new(frames)));
        let mut stream = session.request(RequestParts::post("/"), options).unwrap();
        stream.response().await.unwrap();
        settle().await;
        let ahead = made.get();
        assert!(ahead < 300, "nobody reads, so the producer waits: {ahead}");
        let mut read = 0;
        while let Some(chunk) = stream.chunk().await {
            read += chunk.unwrap().len();
        }
        assert_eq!((read, made.get()), (4_000_000, 400));
    });
}

#[test]
fn a_body_that_fails_fails_the_request() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let frames = futures_util::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(std::io::Error::other("the disk is gone")),
        ]);
        let options = RequestOptions::with_body(Body::stream(StreamBody::new(frames)));
        let stream = session.request(RequestParts::post("/"), options).unwrap();
        let error = stream.closed().await.unwrap_err();
        assert!(matches!(error, StreamError::BodyFailed), "{error}");
        get(&session).response().await.expect("the session goes on");
    });
}

#[test]
fn a_body_that_panics_ends_its_request_alone() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let frames =
            futures_util::stream::iter([()]).map(|()| -> Result<http_body::Frame<Bytes>, std::io::Error> {
                panic!("a body panics");
            });
        let options = RequestOptions::with_body(Body::stream(StreamBody::new(frames)));
        let stream = session.request(RequestParts::post("/"), options).unwrap();
        assert!(matches!(stream.closed().await, Err(StreamError::BodyFailed)));
        get(&session).response().await.expect("the session goes on");
    });
}

fn rule_of(error: &RequestError) -> Option<Malformed> {
    match error {
        RequestError::Invalid(UserError::InvalidField(field)) => Some(field.rule),
        _ => None,
    }
}

#[test]
fn a_request_that_cannot_be_is_refused_by_the_call() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_of(&stage.host);
        let refused =
            |parts: RequestParts, options: RequestOptions| session.request(parts, options).unwrap_err();
        for (name, value, rule) in [
            ("connection", "close", Malformed::ConnectionSpecific),
            ("transfer-encoding", "chunked", Malformed::ConnectionSpecific),
            ("te", "gzip", Malformed::ConnectionSpecific),
            ("x-a", "b\r\nc: d", Malformed::FieldValue),
            ("x-a", "b\0", Malformed::FieldValue),
            ("x-a", " b", Malformed::FieldValue),
            ("x a", "b", Malformed::FieldName),
            ("X-A", "b", Malformed::FieldName),
            ("", "b", Malformed::FieldName),
            (":path", "/", Malformed::PseudoField),
            ("host", "other", Malformed::HostMismatch),
            ("content-length", "many", Malformed::ContentLength),
        ] {
            let parts = RequestParts::get("/").with_authority("example.com").with_field(name, value);
            let error = refused(parts, RequestOptions::default());
            assert_eq!(rule_of(&error), Some(rule), "{name}: {error}");
        }
        let error = refused(RequestParts::get("no slash"), RequestOptions::default());
        assert_eq!(rule_of(&error), Some(Malformed::PseudoValue(":path")), "{error}");
        let error = refused(RequestParts::new("G T", "/"), RequestOptions::default());
        assert_eq!(rule_of(&error), Some(Malformed::PseudoValue(":method")), "{error}");
        let declared = RequestParts::get("/").with_field("content-length", "5");
        let error = refused(declared, RequestOptions::default());
        assert!(matches!(error, RequestError::ContentLength { length: 0, declared: 5 }), "{error}");
        let options = RequestOptions { end_stream: Some(true), ..RequestOptions::with_body("x".into()) };
        assert!(matches!(refused(RequestParts::post("/"), options), RequestError::EndWithBody));
        let nowhere = RequestParts { method: "CONNECT".into(), ..RequestParts::default() };
        let twice = RequestParts::get("/").with_field("user-agent", "a").with_field("user-agent", "b");
        let error = refused(twice, RequestOptions::default());
        assert!(matches!(error, RequestError::Invalid(UserError::RepeatedField(_))), "{error}");
        let odd = RequestParts { protocol: Some("websocket".into()), ..RequestParts::get("/") };
        assert!(matches!(refused(odd, RequestOptions::default()), RequestError::ProtocolWithoutConnect(_)));
        assert!(matches!(refused(nowhere, RequestOptions::default()), RequestError::NoAuthority));
        assert_eq!(session.queued(), 0, "nothing of it waits");
    });
}

#[test]
fn octets_and_content_length_have_to_agree() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let parts = RequestParts::post("/").with_field("content-length", "4");
        let mut stream = session.request(parts, RequestOptions::default()).unwrap();
        let error = stream.send_data(Bytes::from_static(b"12345")).await.unwrap_err();
        assert!(matches!(error, SendError::ContentLength { sent: 5, declared: 4 }), "{error}");
        stream.send_data(Bytes::from_static(b"123")).await.unwrap();
        let error = stream.finish().await.unwrap_err();
        assert!(matches!(error, SendError::ContentLength { sent: 3, declared: 4 }), "{error}");
        stream.finish_with(Bytes::from_static(b"4")).await.unwrap();
        assert_eq!(text(stream).await, "1234");
    });
}

#[test]
fn requests_made_before_the_connection_is_up_go_out_in_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&order);
        let stage = Stage::new(service(move |request| {
            seen.borrow_mut().push((request.stream.get(), request.head.path().unwrap_or("").to_owned()));
            Response::text("").into()
        }));
        let (up, wait) = tokio::sync::oneshot::channel::<()>();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        stage.host.spawn_session(theirs, None);
        let once = Cell::new(Some((wait, ours)));
        let connector = Connector::with(move |target| {
            let once = once.take();
            async move {
                assert_eq!((&*target.host, target.port), ("example.com", 80));
                let (wait, ours) = once.expect("asked once");
                wait.await.ok();
                let io: Box<dyn stagedoor_actors::transport::Io> = Box::new(ours);
                Ok(io)
            }
        });
        let session = connect("http://example.com", Options::with_connector(connector)).unwrap();
        let mut streams: Vec<_> = (0..20)
            .map(|number| session.request(format!("/{number}").as_str(), RequestOptions::default()).unwrap())
            .collect();
        settle().await;
        assert!(session.is_connecting());
        assert_eq!(session.queued(), 20);
        assert!(streams.iter().all(|stream| stream.state() == StreamState::Pending));
        up.send(()).unwrap();
        session.ready().await.unwrap();
        for stream in &mut streams {
            assert_eq!(stream.response().await.unwrap().status, 200);
        }
        let expected: Vec<_> = (0..20_u32).map(|number| (2 * number + 1, format!("/{number}"))).collect();
        assert_eq!(*order.borrow(), expected);
    });
}

#[test]
fn at_the_servers_limit_requests_wait_and_all_are_served() {
    run(async {
        let running = Rc::new(Cell::new((0, 0)));
        let counted = Rc::clone(&running);
        let service = service(move |_| {
            let running = Rc::clone(&counted);
            Reply::later(async move {
                let (now, most) = running.get();
                running.set((now + 1, most.max(now + 1)));
                tokio::task::yield_now().await;
                running.set((running.get().0 - 1, running.get().1));
                Response::text("done")
            })
        });
        let mut config = config();
        config.limits = Limits { streams_per_session: 2, ..Limits::default() };
        let stage = Stage::with(config, service);
        let session = client_of(&stage.host);
        session.offers_connect_protocol().await.expect("SETTINGS have come");
        let mut streams: Vec<_> = (0..25).map(|_| get(&session)).collect();
        for stream in &mut streams {
            assert_eq!(stream.response().await.unwrap().status, 200);
            while let Some(chunk) = stream.chunk().await {
                chunk.unwrap();
            }
        }
        assert_eq!(running.get(), (0, 2), "never more than two at once");
        assert_eq!(stage.outcome(Outcome::Refused), 0);
    });
}

#[test]
fn more_than_may_wait_is_refused_by_the_call() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_with(&stage.host, Options { max_queued: 3, ..Options::default() });
        let streams: Vec<_> = (0..3).map(|_| get(&session)).collect();
        let error = session.request("/", RequestOptions::default()).unwrap_err();
        assert!(matches!(error, RequestError::QueueFull(3)), "{error}");
        assert!(error.is_retry_safe());
        for mut stream in streams {
            stream.response().await.unwrap();
        }
        get(&session).response().await.expect("there is room again");
    });
}

#[test]
fn dropping_a_stream_cancels_it() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let session = client_of(&stage.host);
        let stream = get(&session);
        stream.opened().await.unwrap();
        settle().await;
        drop(stream);
        settle().await;
        assert_eq!(dropped.get(), 1, "the handler is told");
        assert_eq!(stage.outcome(Outcome::ResetByPeer), 1);
        assert_eq!(stage.cells.streams_active[Protocol::H2c].get(), 0);
    });
}

#[test]
fn dropping_a_request_that_waits_sends_nothing() {
    run(async {
        let (service, _) = forever();
        let mut config = config();
        config.limits.streams_per_session = 1;
        let stage = Stage::with(config, service);
        let session = client_of(&stage.host);
        session.offers_connect_protocol().await.unwrap();
        let first = get(&session);
        first.opened().await.unwrap();
        let second = get(&session);
        settle().await;
        assert_eq!((second.state(), session.queued()), (StreamState::Pending, 1));
        drop(second);
        assert_eq!(session.queued(), 0);
        settle().await;
        assert_eq!(stage.cells.streams_opened[Protocol::H2c].get(), 1, "one was ever opened");
    });
}

/// How many wait.
#[derive(Default)]
struct Counted(Cell<i32>);

impl Line for Counted {
    fn joined(&self) {
        self.0.set(self.0.get() + 1);
    }

    fn left(&self) {
        self.0.set(self.0.get() - 1);
    }
}

#[test]
fn a_request_leaves_the_line_when_it_is_sent_or_given_up() {
    run(async {
        let (service, _) = forever();
        let mut config = config();
        config.limits.streams_per_session = 1;
        let stage = Stage::with(config, service);
        let session = client_of(&stage.host);
        session.offers_connect_protocol().await.unwrap();
        let line = Rc::new(Counted::default());
        let ask = || {
            let head = Rc::new(RequestHead::new("GET", "http", "example.com", "/"));
            session.pass_on(head, Body::Empty, None, Rc::clone(&line) as Rc<dyn Line>).expect("room in line")
        };
        let first = ask();
        assert_eq!((first.opened_at(), line.0.get()), (None, 1));
        settle().await;
        assert!(first.opened_at().is_some());
        assert_eq!(line.0.get(), 0, "it is sent");
        let second = ask();
        settle().await;
        assert_eq!((second.opened_at(), line.0.get()), (None, 1));
        drop(second);
        assert_eq!(line.0.get(), 0, "it never will be");
    });
}

#[test]
fn a_signal_aborts_what_runs_and_what_waits_and_what_comes_later() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let session = client_of(&stage.host);
        let abort = AbortHandle::new();
        let options = || RequestOptions { signal: Some(abort.signal()), ..RequestOptions::default() };
        let mut runs = session.request("/", options()).unwrap();
        runs.opened().await.unwrap();
        settle().await;
        let mut waits = session.request("/", options()).unwrap();
        abort.abort();
        assert!(matches!(waits.response().await, Err(StreamError::Aborted)));
        assert_eq!(waits.id(), None, "it was never sent");
        assert!(matches!(runs.response().await, Err(StreamError::Aborted)));
        assert_eq!(runs.code(), Some(ErrorCode::CANCEL));
        assert!(matches!(session.request("/", options()), Err(RequestError::Aborted)));
        settle().await;
        assert_eq!((dropped.get(), stage.outcome(Outcome::ResetByPeer)), (1, 1));
        abort.abort();
    });
}

#[test]
fn any_future_can_abort_a_request() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let session = client_of(&stage.host);
        let (fire, fired) = tokio::sync::oneshot::channel::<()>();
        let options = RequestOptions {
            abort_when: Some(Box::pin(async move { drop(fired.await) })),
            ..RequestOptions::default()
        };
        let mut stream = session.request("/", options).unwrap();
        stream.opened().await.unwrap();
        settle().await;
        fire.send(()).unwrap();
        assert!(matches!(stream.response().await, Err(StreamError::Aborted)));
        settle().await;
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_response_has_to_come_in_time_where_the_caller_says_so() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let session = client_of(&stage.host);
        let options =
            RequestOptions { response_timeout: Some(Duration::from_secs(3)), ..RequestOptions::default() };
        let begun = tokio::time::Instant::now();
        let error = session.request("/", options).unwrap().response().await.unwrap_err();
        assert!(matches!(error, StreamError::TimedOut), "{error}");
        assert_eq!(begun.elapsed().as_secs(), 3);
        settle().await;
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_reset_says_its_code_to_the_server_and_to_the_caller() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let session = client_of(&stage.host);
        let mut stream = get(&session);
        stream.opened().await.unwrap();
        stream.reset(ErrorCode::ENHANCE_YOUR_CALM);
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::ResetByUs(ErrorCode::ENHANCE_YOUR_CALM)), "{error}");
        assert_eq!(stream.code(), Some(ErrorCode::ENHANCE_YOUR_CALM));
        assert!(matches!(stream.next_event().await, Some(Event::Closed(Err(StreamError::ResetByUs(_))))));
        assert!(stream.next_event().await.is_none());
        settle().await;
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_graceful_close_lets_streams_finish_and_takes_no_new_ones() {
    run(async {
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let wait = Cell::new(Some(wait));
        let stage = Stage::new(service(move |_| {
            let wait = wait.take();
            Reply::later(async move {
                if let Some(wait) = wait {
                    wait.await.ok();
                }
                Response::text("finished")
            })
        }));
        let session = client_of(&stage.host);
        let stream = get(&session);
        stream.opened().await.unwrap();
        let closing = session.clone();
        let closed = actix::spawn(async move { closing.close().await });
        settle().await;
        assert!(matches!(session.request("/", RequestOptions::default()), Err(RequestError::Closing)));
        assert!(!session.takes_requests());
        go.send(()).unwrap();
        assert_eq!(text(stream).await, "finished");
        let end = closed.await.unwrap();
        assert!(matches!(end, SessionEnd::Closed { code: ErrorCode::NO_ERROR, .. }), "{end}");
        let error = session.request("/", RequestOptions::default()).unwrap_err();
        assert!(matches!(error, RequestError::Closed(_)) && error.is_retry_safe(), "{error}");
    });
}

#[test]
fn a_request_that_was_not_sent_when_the_session_is_closed_is_told_so() {
    run(async {
        let stage = Stage::new(hello());
        let never = Connector::with(|_| std::future::pending());
        let session = connect("http://example.com", Options::with_connector(never)).unwrap();
        let mut stream = get(&session);
        settle().await;
        session.close().await;
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Closing) && error.is_retry_safe(), "{error}");
        assert!(session.ready().await.is_err());
        settle().await;
        let cells = stage.shard.listener(stage.metrics.add_listener("client", "-"));
        assert_eq!(cells.connections[ConnectionResult::Error].get(), 1, "it never came up");
        assert_eq!(cells.connections[ConnectionResult::Accepted].get(), 0);
        assert!(stage.metrics.live().is_empty());
    });
}

#[test]
fn a_hard_close_tells_open_streams_the_sessions_error_and_waiting_ones_their_own() {
    run(async {
        let (service, dropped) = forever();
        let mut config = config();
        config.limits.streams_per_session = 1;
        let stage = Stage::with(config, service);
        let session = client_of(&stage.host);
        session.offers_connect_protocol().await.unwrap();
        let mut open = get(&session);
        open.opened().await.unwrap();
        let mut waits = get(&session);
        settle().await;
        let order = stagedoor_actors::CloseSession::new(CloseReason::Admin).now();
        session.end(order.with_code(ErrorCode::INTERNAL_ERROR).with_detail("no more"));
        let error = open.response().await.unwrap_err();
        let StreamError::SessionClosed(SessionEnd::Closed { reason, code, detail }) = &error else {
            panic!("{error}")
        };
        assert_eq!((*reason, *code, &**detail), (CloseReason::Admin, ErrorCode::INTERNAL_ERROR, "no more"));
        assert!(!error.is_retry_safe(), "it may have been processed");
        let error = waits.response().await.unwrap_err();
        assert!(matches!(&error, StreamError::Cancelled { cause: SessionEnd::Closed { .. } }), "{error}");
        assert!(error.is_retry_safe());
        settle().await;
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_session_ends_with_its_last_stream_when_nobody_holds_it() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_of(&stage.host);
        let stream = get(&session);
        drop(session);
        assert_eq!(text(stream).await, "hello, world\n");
        assert_eq!(stage.ended().await.reason, CloseReason::ClientGoaway, "the server was told");
        settle().await;
        assert!(stage.metrics.live().is_empty());
    });
}

#[test]
fn a_session_of_ours_is_in_the_registry_with_its_role_and_counted() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_of(&stage.host);
        text(get(&session)).await;
        let mut roles: Vec<_> = stage
            .metrics
            .live()
            .snapshot()
            .iter()
            .map(|stats| (stats.role().label(), stats.peer().to_string()))
            .collect();
        roles.sort();
        assert_eq!(roles, [("client", "example.com".to_owned()), ("server", "-".to_owned())]);
        let listener = stage.metrics.add_listener("client", "-");
        let cells = stage.shard.listener(listener);
        assert_eq!(cells.streams_opened[Protocol::H2c].get(), 1);
        assert_eq!(cells.streams_closed[Outcome::Complete].get(), 1);
        let handle = session.handle().expect("it is up");
        let pong = handle.ping(None).unwrap().await.expect("the server answers");
        assert!(pong.rtt < Duration::from_secs(60));
        assert_eq!((handle.role.label(), &*handle.listener), ("client", "example.com"));
        session.close().await;
        settle().await;
        assert_eq!(cells.sessions_opened[Protocol::H2c].get(), 1);
        assert_eq!(cells.streams_active[Protocol::H2c].get(), 0);
        assert!(handle.is_closed());
    });
}

#[test]
fn an_early_answer_is_no_error_though_the_rest_of_the_upload_is_dropped() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text("no need").into()));
        let session = client_of(&stage.host);
        let mut stream = session.request(RequestParts::post("/"), RequestOptions::default()).unwrap();
        assert_eq!(stream.response().await.unwrap().status, 200);
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "no need");
        assert!(stream.chunk().await.is_none(), "the response is whole");
        stream.closed().await.expect("RST_STREAM(NO_ERROR) after END_STREAM is no error");
        let error = stream.send_data(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(error, SendError::Unwanted), "{error}");
    });
}

#[test]
fn events_come_in_the_order_of_a_response() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let mut stream = session.request(RequestParts::post("/"), RequestOptions::default()).unwrap();
        stream.send_trailers([("x-end", "1")].into_iter().collect()).await.unwrap();
        assert!(matches!(stream.next_event().await, Some(Event::Response(head)) if head.status == 200));
        assert!(
            matches!(stream.next_event().await, Some(Event::Trailers(fields)) if fields.contains("x-end"))
        );
        assert!(matches!(stream.next_event().await, Some(Event::Closed(Ok(())))));
        assert!(stream.next_event().await.is_none());
    });
}

#[test]
fn a_session_of_ours_tells_of_its_streams() {
    run(async {
        let stage = Stage::new(service(|request| match request.head.method() {
            "POST" => Response::new(200).with_body(Body::stream(request.body)).into(),
            _ => Reply::later(std::future::pending()),
        }));
        let session = client_of(&stage.host);
        session.ready().await.unwrap();
        let mut events = session.handle().unwrap().events();
        let options = RequestOptions::with_body("octets".into());
        let echo = session.request(RequestParts::post("/echo"), options).unwrap();
        assert_eq!(text(echo).await, "octets");
        let stuck = get(&session);
        stuck.opened().await.unwrap();
        drop(stuck);
        let (mut told, mut times) = (Vec::new(), Vec::new());
        while told.len() < 5 {
            told.push(match events.next().await.unwrap() {
                SessionEvent::StreamOpened { id, head } => format!("{} {}", id.get(), head.path().unwrap()),
                SessionEvent::StreamAnswered { id, status } => format!("{} {status}", id.get()),
                SessionEvent::StreamClosed { id, outcome, octets, times: when, .. } => {
                    times.push([when.head, when.first_in, when.first_out].map(|time| time.is_some()));
                    format!("{} {outcome} {octets:?}", id.get())
                }
                _ => continue,
            });
        }
        assert_eq!(told, ["1 /echo", "1 200", "1 complete (6, 6)", "3 /", "3 cancelled (0, 0)"]);
        assert_eq!(times, [[true; 3], [false; 3]]);
    });
}
