//! What a handler can say on a stream, seen by a client made of our own protocol machine: heads, informational
//! heads, bodies, trailers, pushes, resets, and what is refused at the call.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use common::peer::*;
use common::*;
use stagedoor_actors::{
    Body, Closed, Expectation, Host, Phase, Reply, Request, Response, ServerStream, Service, StreamMisuse,
};
use stagedoor_metrics::{Method, Outcome};
use stagedoor_protocol::{Cause, Config, ErrorCode, Event, Fields, Origin, RequestHead, StreamId};

/// A service whose handlers hold a [`ServerStream`].
fn driven<F, Fut>(handler: F) -> Rc<dyn Service>
where
    F: Fn(ServerStream) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    service(move |request: Request| Reply::driven(handler(request.into_stream())))
}

fn connect(service: Rc<dyn Service>) -> (Stage, Peer) {
    connect_with(service, Config::default())
}

fn connect_with(service: Rc<dyn Service>, config: Config) -> (Stage, Peer) {
    let stage = Stage::new(service);
    let (_, io) = stage.connect();
    (stage, Peer::with(io, config))
}

/// Runs one GET against a driven handler and gives the client's story.
async fn get_story<F, Fut>(handler: F) -> Vec<Event>
where
    F: Fn(ServerStream) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (_stage, mut peer) = connect(driven(handler));
    let id = peer.get("/");
    peer.story(id).await
}

fn informational(story: &[Event]) -> Vec<u16> {
    let heads = story.iter().filter_map(|event| match event {
        Event::InformationalReceived { head, .. } => Some(head.status),
        _ => None,
    });
    heads.collect()
}

fn closed_by(story: &[Event]) -> Cause {
    match story.last() {
        Some(Event::StreamClosed { cause, .. }) => *cause,
        _ => panic!("a story ends with its stream"),
    }
}

/// DATA frames of a story, as (octets, END_STREAM).
fn data_frames(story: &[Event]) -> Vec<(usize, bool)> {
    let frames = story.iter().filter_map(|event| match event {
        Event::DataReceived { data, end_stream, .. } => Some((data.len(), *end_stream)),
        _ => None,
    });
    frames.collect()
}

#[test]
fn a_head_then_octets_then_the_end() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.respond(203, fields(&[("x-a", "1"), ("x-a", "2")])).unwrap();
            stream.write("one ").await.unwrap();
            stream.write_end("two").await.unwrap();
        })
        .await;
        let (head, end) = head_of(&story);
        assert_eq!((head.status, end), (203, false));
        let repeated: Vec<_> = head.fields.get_all("x-a").collect();
        assert_eq!(repeated, [b"1", b"2"], "repeated fields are kept in order");
        assert!(head.fields.contains("date"));
        assert_eq!(body_of(&story), b"one two");
        assert_eq!(closed_by(&story), Cause::EndStream);
    });
}

#[test]
fn the_first_write_sends_a_head_of_200() {
    run(async {
        let story = get_story(|mut stream| async move {
            assert_eq!(stream.phase(), Phase::Open);
            stream.write("x").await.unwrap();
            assert_eq!((stream.phase(), stream.status()), (Phase::HeadSent, Some(200)));
            stream.finish().unwrap();
        })
        .await;
        assert_eq!(head_of(&story).0.status, 200);
        assert_eq!(body_of(&story), b"x");
    });
}

#[test]
fn an_end_without_anything_is_an_empty_200() {
    run(async {
        let story = get_story(|mut stream| async move { stream.finish().unwrap() }).await;
        let (head, end) = head_of(&story);
        assert_eq!((head.status, end), (200, true));
        assert!(data_frames(&story).is_empty());
    });
}

#[test]
fn end_stream_rides_on_the_last_octets() {
    run(async {
        let at_once = get_story(|mut stream| async move {
            stream.respond(200, Fields::new()).unwrap();
            stream.write("OK").await.unwrap();
            stream.finish().unwrap();
        });
        let together = get_story(|mut stream| async move { stream.write_end("OK").await.unwrap() });
        let later = get_story(|mut stream| async move {
            stream.write("OK").await.unwrap();
            settle().await;
            stream.finish().unwrap();
        });
        assert_eq!(data_frames(&at_once.await), [(2, true)]);
        assert_eq!(data_frames(&together.await), [(2, true)]);
        assert_eq!(data_frames(&later.await), [(2, false), (0, true)]);
    });
}

#[test]
fn statuses_without_a_body_end_on_their_head() {
    run(async {
        for status in [204, 205, 304] {
            let story = get_story(move |mut stream| async move {
                stream.respond(status, Fields::new()).unwrap();
                assert_eq!(stream.phase(), Phase::Ended);
                let refused = stream.write("no").await;
                assert_eq!(refused, Err(StreamMisuse::NoBody { method: "GET".into(), status }));
            })
            .await;
            let (head, end) = head_of(&story);
            assert_eq!((head.status, end), (status, true));
            assert!(data_frames(&story).is_empty());
        }
    });
}

#[test]
fn the_answer_to_head_ends_on_its_head() {
    run(async {
        let (_stage, mut peer) = connect(driven(|mut stream| async move {
            stream.respond(200, fields(&[("content-length", "5")])).unwrap();
            let refused = stream.write("hello").await;
            assert_eq!(refused, Err(StreamMisuse::NoBody { method: "HEAD".into(), status: 200 }));
        }));
        let id = peer.request(&RequestHead::new("HEAD", "http", "a", "/"), true);
        let story = peer.story(id).await;
        let (head, end) = head_of(&story);
        assert!(end);
        assert_eq!(head.fields.get("content-length"), Some(&b"5"[..]));
    });
}

#[test]
fn informational_heads_come_before_the_final_one_and_never_after() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.informational(102, Fields::new()).unwrap();
            stream.early_hints(["</style.css>; rel=preload", "</app.js>; rel=preload"]).unwrap();
            stream.early_hints::<&str>([]).unwrap();
            stream.informational(199, Fields::new()).unwrap();
            for status in [101, 99, 200, 0] {
                assert_eq!(stream.informational(status, Fields::new()), Err(StreamMisuse::Status(status)));
            }
            stream.respond(200, Fields::new()).unwrap();
            assert_eq!(stream.informational(103, Fields::new()), Err(StreamMisuse::HeadSent));
            stream.finish().unwrap();
        })
        .await;
        assert_eq!(informational(&story), [102, 103, 199]);
        let hints = story.iter().find_map(|event| match event {
            Event::InformationalReceived { head, .. } if head.status == 103 => Some(head.fields.clone()),
            _ => None,
        });
        assert_eq!(hints.unwrap().get_all("link").count(), 2);
    });
}

#[test]
fn a_handler_that_gives_one_response_can_inform_before_it() {
    run(async {
        let (_stage, mut peer) = connect(service(|request| {
            let handle = request.handle();
            Reply::later(async move {
                handle.early_hints(["</a>; rel=preload"]).unwrap();
                settle().await;
                Response::text("done")
            })
        }));
        let id = peer.get("/");
        let story = peer.story(id).await;
        assert_eq!(informational(&story), [103]);
        assert_eq!(body_of(&story), b"done");
    });
}

#[test]
fn a_second_head_is_refused() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.respond(200, Fields::new()).unwrap();
            assert_eq!(stream.respond(200, Fields::new()), Err(StreamMisuse::HeadSent));
            assert_eq!(stream.send(Response::new(200)).await, Err(StreamMisuse::HeadSent));
            stream.finish().unwrap();
            assert_eq!(stream.finish(), Err(StreamMisuse::Ended));
            assert_eq!(stream.write("x").await, Err(StreamMisuse::Ended));
            assert_eq!(stream.trailers(Fields::new()), Err(StreamMisuse::Ended));
        })
        .await;
        assert_eq!(closed_by(&story), Cause::EndStream);
    });
}

#[test]
fn statuses_are_200_to_599() {
    run(async {
        get_story(|mut stream| async move {
            for status in [0, 100, 101, 199, 600, 999] {
                assert_eq!(stream.respond(status, Fields::new()), Err(StreamMisuse::Status(status)));
            }
            stream.respond(599, Fields::new()).unwrap();
            stream.finish().unwrap();
        })
        .await;
    });
}

#[test]
fn fields_that_cannot_be_sent_are_refused_at_the_call() {
    run(async {
        let bad: [(&str, &str); 9] = [
            ("x", "a\r\nset-cookie: b"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("x", " a"),
            ("x y", "a"),
            (":status", "200"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
        ];
        for (name, value) in bad {
            let story = get_story(move |mut stream| async move {
                let list = || fields(&[(name, value)]);
                assert!(matches!(stream.informational(103, list()), Err(StreamMisuse::Refused(_))));
                assert!(matches!(stream.respond(200, list()), Err(StreamMisuse::Refused(_))), "{name}");
                assert_eq!(stream.phase(), Phase::Open, "nothing was sent");
                stream.respond(200, Fields::new()).unwrap();
                assert!(matches!(stream.trailers(list()), Err(StreamMisuse::Refused(_))), "{name}");
                stream.finish().unwrap();
            })
            .await;
            assert_eq!(closed_by(&story), Cause::EndStream);
        }
    });
}

#[test]
fn lengths_are_kept() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.respond(200, fields(&[("content-length", "3")])).unwrap();
            assert!(matches!(stream.write("four").await, Err(StreamMisuse::Refused(_))), "more than said");
            stream.write("tw").await.unwrap();
            assert!(matches!(stream.finish(), Err(StreamMisuse::Refused(_))), "fewer than said");
            stream.write_end("o").await.unwrap();
        })
        .await;
        assert_eq!(body_of(&story), b"two");
    });
}

#[test]
fn trailers_end_the_stream() {
    run(async {
        let story = get_story(|mut stream| async move {
            assert_eq!(stream.trailers(fields(&[("x-sum", "1")])), Err(StreamMisuse::HeadMissing));
            stream.write("body").await.unwrap();
            stream.trailers(fields(&[("x-sum", "1")])).unwrap();
            assert_eq!(stream.trailers(fields(&[("x-sum", "1")])), Err(StreamMisuse::Ended));
        })
        .await;
        let trailers = story.iter().find_map(|event| match event {
            Event::TrailersReceived { fields, .. } => Some(fields.clone()),
            _ => None,
        });
        assert_eq!(trailers.unwrap().get("x-sum"), Some(&b"1"[..]));
        assert!(data_frames(&story).iter().all(|(_, end)| !end));
    });
}

#[test]
fn no_trailers_are_a_plain_end() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.write("body").await.unwrap();
            stream.trailers(Fields::new()).unwrap();
        })
        .await;
        assert_eq!(data_frames(&story), [(4, true)]);
    });
}

#[test]
fn request_trailers_reach_the_handler() {
    run(async {
        let (_stage, mut peer) = connect(driven(|mut stream| async move {
            while let Some(chunk) = stream.body().chunk().await {
                chunk.unwrap();
            }
            let trailers = stream.body().trailers().unwrap();
            let sum = trailers.get("x-sum").unwrap().to_vec();
            stream.write_end(sum).await.unwrap();
        }));
        let id = peer.request(&post_head("/", &[]), false);
        peer.data(id, b"octets", false);
        peer.conn.send_trailers(id, fields(&[("x-sum", "7")])).unwrap();
        assert_eq!(body_of(&peer.story(id).await), b"7");
    });
}

#[test]
fn date_can_be_left_out_or_overridden() {
    run(async {
        let without = get_story(|mut stream| async move {
            stream.without_date();
            stream.finish().unwrap();
        })
        .await;
        assert!(!head_of(&without).0.fields.contains("date"));
        let own = get_story(|mut stream| async move {
            stream.respond(204, fields(&[("date", "Thu, 01 Jan 1970 00:00:00 GMT")])).unwrap();
        })
        .await;
        assert_eq!(head_of(&own).0.fields.get_all("date").count(), 1);
        let (_stage, mut peer) = connect(service(|_| Response::text("x").without_date().into()));
        let id = peer.get("/");
        assert!(!head_of(&peer.story(id).await).0.fields.contains("date"));
    });
}

#[test]
fn a_stream_can_send_a_whole_response() {
    run(async {
        let story = get_story(|mut stream| async move {
            stream.send(Response::text("whole").with_field("x-a", "b")).await.unwrap();
        })
        .await;
        let (head, _) = head_of(&story);
        assert_eq!(head.fields.get("content-length"), Some(&b"5"[..]));
        assert_eq!(data_frames(&story), [(5, true)]);
    });
}

#[test]
fn a_reset_says_its_code_and_no_error_only_after_the_end() {
    run(async {
        for code in [
            ErrorCode::PROTOCOL_ERROR,
            ErrorCode::CANCEL,
            ErrorCode::REFUSED_STREAM,
            ErrorCode::INTERNAL_ERROR,
        ] {
            let story = get_story(move |mut stream| async move {
                assert_eq!(stream.reset(ErrorCode::NO_ERROR), Err(StreamMisuse::NoErrorBeforeEnd));
                stream.write("part").await.unwrap();
                assert_eq!(stream.reset(ErrorCode::NO_ERROR), Err(StreamMisuse::NoErrorBeforeEnd));
                stream.reset(code).unwrap();
                std::future::pending().await
            })
            .await;
            let expected = Cause::Reset { by: Origin::Remote, code };
            // A client is told REFUSED_STREAM as what it means: not processed.
            assert!(closed_by(&story) == expected || code == ErrorCode::REFUSED_STREAM, "{code}");
        }
    });
}

#[test]
fn a_handler_that_leaves_without_a_word_is_a_500_and_in_the_middle_a_reset() {
    run(async {
        let story = get_story(|_stream| async {}).await;
        assert_eq!(head_of(&story).0.status, 500);
        let story = get_story(|mut stream| async move {
            stream.write("half").await.unwrap();
        })
        .await;
        let cut = Cause::Reset { by: Origin::Remote, code: ErrorCode::INTERNAL_ERROR };
        assert_eq!(closed_by(&story), cut);
    });
}

#[test]
fn calls_on_a_closed_stream_say_so_with_its_code() {
    run(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let (_stage, mut peer) = connect(service(move |request| {
            let mut stream = request.into_stream();
            let sender = sender.borrow_mut().take().unwrap();
            // Outside its actor the stream outlives its end.
            actix_rt::spawn(async move {
                stream.write("x").await.unwrap();
                let closed = stream.handle().closed().await;
                let gone = StreamMisuse::Closed(ErrorCode::CANCEL);
                assert_eq!(stream.write("y").await, Err(gone.clone()));
                assert_eq!(stream.finish(), Err(gone.clone()));
                assert_eq!(stream.trailers(Fields::new()), Err(gone.clone()));
                assert_eq!(stream.respond(200, Fields::new()), Err(gone.clone()));
                assert_eq!(stream.informational(103, Fields::new()), Err(gone.clone()));
                assert_eq!(stream.reset(ErrorCode::CANCEL), Err(gone));
                sender.send(closed).ok();
            });
            Reply::driven(std::future::pending())
        }));
        let id = peer.get("/");
        peer.response(id).await;
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
        let closed = receiver.await.unwrap();
        let expected = Closed { outcome: Outcome::ResetByPeer, code: ErrorCode::CANCEL, complete: false };
        assert_eq!(closed, expected);
    });
}

#[test]
fn a_complete_stream_says_so_once() {
    run(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let (_stage, mut peer) = connect(service(move |request| {
            let handle = request.handle();
            let sender = sender.borrow_mut().take().unwrap();
            actix_rt::spawn(async move {
                sender.send(handle.closed().await).ok();
            });
            Response::text("x").into()
        }));
        let id = peer.get("/");
        peer.story(id).await;
        let closed = receiver.await.unwrap();
        assert_eq!((closed.outcome, closed.complete), (Outcome::Complete, true));
    });
}

#[test]
fn a_slow_reader_stops_the_writer() {
    run(async {
        let written = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&written);
        let (_stage, mut peer) = connect_with(
            driven(move |mut stream| {
                let count = Rc::clone(&count);
                async move {
                    loop {
                        if stream.write(vec![b'x'; 10_000]).await.is_err() {
                            return;
                        }
                        count.set(count.get() + 10_000);
                    }
                }
            }),
            Config {
                stream_window: stagedoor_protocol::Window { start: 65_535, max: 65_535 },
                ..Config::default()
            },
        );
        let id = peer.get("/");
        peer.response(id).await;
        settle().await;
        assert!(written.get() <= 65_535 + (128 << 10), "{}", written.get());
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
    });
}

// 100 (Continue) and other expectations.

#[test]
fn the_client_is_told_to_continue_when_the_body_is_waited_for() {
    run(async {
        let (_stage, mut peer) = connect(driven(|mut stream| async move {
            let octets = stream.body().chunk().await.unwrap().unwrap();
            stream.write_end(octets).await.unwrap();
        }));
        let id = peer.request(&post_head("/", &[("expect", "100-Continue")]), false);
        let event = peer.until(|event| about(event) == Some(id)).await;
        assert!(matches!(event, Event::InformationalReceived { head, .. } if head.status == 100));
        peer.data(id, b"octets", true);
        let story = peer.story(id).await;
        assert_eq!(informational(&story), Vec::<u16>::new(), "told once");
        assert_eq!(body_of(&story), b"octets");
    });
}

#[test]
fn a_handler_that_refuses_at_once_asks_for_no_body() {
    run(async {
        let (_stage, mut peer) = connect(service(|_| Response::new(401).into()));
        let id = peer.request(&post_head("/", &[("expect", "100-continue")]), false);
        let story = peer.story(id).await;
        assert_eq!(informational(&story), Vec::<u16>::new());
        assert_eq!(head_of(&story).0.status, 401);
    });
}

#[test]
fn an_unknown_expectation_is_417() {
    run(async {
        let (_stage, mut peer) = connect(service(|_| panic!("the handler is not asked")));
        let mut head = get_head("/");
        head.fields_mut().push("expect", "the unexpected");
        let id = peer.request(&head, true);
        assert_eq!(head_of(&peer.story(id).await).0.status, 417);
    });
}

struct Expecting;

impl Service for Expecting {
    fn expect(&self, _: &RequestHead) -> Expectation {
        Expectation::Handler
    }

    fn call(&self, request: Request) -> Reply {
        let mut stream = request.into_stream();
        Reply::driven(async move {
            if stream.head().fields().get("expect") == Some(b"100-continue") {
                stream.informational(100, Fields::new()).unwrap();
            }
            while stream.body().chunk().await.is_some() {}
            stream.finish().unwrap();
        })
    }
}

#[test]
fn a_service_may_see_to_expectations_itself() {
    run(async {
        let (_stage, mut peer) = connect(Rc::new(Expecting));
        let id = peer.request(&post_head("/", &[("expect", "100-continue")]), false);
        let event = peer.until(|event| about(event) == Some(id)).await;
        assert!(matches!(event, Event::InformationalReceived { head, .. } if head.status == 100));
        peer.data(id, b"x", true);
        assert_eq!(head_of(&peer.story(id).await).0.status, 200);
        let id = peer.request(&post_head("/", &[("expect", "other")]), true);
        assert_eq!(head_of(&peer.story(id).await).0.status, 200);
    });
}

// Pushed responses.

fn taking_pushes() -> Config {
    Config { enable_push: true, ..Config::default() }
}

fn pushing(path: &'static str, reply: fn() -> Reply) -> Rc<dyn Service> {
    service(move |request| {
        let handle = request.handle();
        assert!(handle.push_allowed());
        handle.push(get_head(path), reply()).unwrap();
        Response::text("page").into()
    })
}

#[test]
fn a_push_is_promised_before_the_page_and_answered_on_its_own_stream() {
    run(async {
        let (stage, mut peer) =
            connect_with(pushing("/style.css", || Response::text("css").into()), taking_pushes());
        let id = peer.get("/");
        let first = peer.until(|event| about(event) == Some(id)).await;
        let Event::PushPromised { promised, head, .. } = first else { panic!("the promise comes first") };
        assert_eq!((head.method(), head.path()), ("GET", Some("/style.css")));
        assert_eq!(promised, StreamId::from_wire(2));
        let mut bodies = std::collections::HashMap::<StreamId, Vec<u8>>::new();
        let mut open = 2;
        while open > 0 {
            match peer.next().await.unwrap() {
                Event::DataReceived { id, data, .. } => bodies.entry(id).or_default().extend(&data[..]),
                Event::StreamClosed { cause, .. } => {
                    assert_eq!(cause, Cause::EndStream);
                    open -= 1;
                }
                _ => {}
            }
        }
        assert_eq!((&bodies[&id][..], &bodies[&promised][..]), (&b"page"[..], &b"css"[..]));
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2, "both are counted");
    });
}

#[test]
fn a_push_may_take_its_time_and_its_client_may_refuse_it() {
    run(async {
        let later = || {
            Reply::later(async {
                settle().await;
                Response::text("late")
            })
        };
        let (stage, mut peer) = connect_with(pushing("/late", later), taking_pushes());
        let id = peer.get("/");
        let event = peer.until(|event| matches!(event, Event::PushPromised { .. })).await;
        let Event::PushPromised { promised, .. } = event else { unreachable!() };
        peer.reset(promised, ErrorCode::CANCEL);
        peer.flush().await;
        let story = peer.story(id).await;
        assert_eq!(body_of(&story), b"page");
        settle().await;
        assert_eq!(stage.outcome(Outcome::ResetByPeer), 1);
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn a_pushed_head_request_ends_on_its_head() {
    run(async {
        let (_stage, mut peer) = connect_with(
            service(|request| {
                let head = RequestHead::new("HEAD", "http", "a", "/x");
                request.handle().push(head, Response::text("body")).unwrap();
                Response::new(204).into()
            }),
            taking_pushes(),
        );
        peer.get("/");
        let pushed = StreamId::from_wire(2);
        let (head, end) = head_of(&peer.story(pushed).await);
        assert!(end);
        assert_eq!(head.fields.get("content-length"), Some(&b"4"[..]));
    });
}

#[test]
fn pushes_that_cannot_be_are_refused_at_the_call() {
    run(async {
        let (_stage, mut peer) = connect(service(|request| {
            let handle = request.handle();
            assert!(!handle.push_allowed(), "our own client asks for no push");
            let refused = handle.push(get_head("/x"), Response::new(200)).err();
            assert_eq!(refused, Some(StreamMisuse::PushDisabled));
            Response::text("x").into()
        }));
        let id = peer.get("/");
        peer.story(id).await;

        let (_stage, mut peer) = connect_with(
            service(|request| {
                let handle = request.handle();
                let post = handle.push(post_head("/x", &[]), Response::new(200)).err();
                assert_eq!(post, Some(StreamMisuse::UnsafePush("POST".into())));
                let mut with_body = get_head("/x");
                with_body.fields_mut().push("content-length", "1");
                assert!(handle.push(with_body, Response::new(200)).is_err());
                Response::text("x").into()
            }),
            taking_pushes(),
        );
        let id = peer.get("/");
        peer.story(id).await;
    });
}

#[test]
fn a_push_learns_its_stream_or_why_there_is_none() {
    run(async {
        let results = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&results);
        let config = Config { max_concurrent_streams: 1, ..taking_pushes() };
        let (_stage, mut peer) = connect_with(
            driven(move |mut stream| {
                let told = Rc::clone(&told);
                async move {
                    let first = stream.push(get_head("/1"), Reply::later(std::future::pending())).unwrap();
                    let id = first.await;
                    told.borrow_mut().push(id);
                    stream.finish().unwrap();
                }
            }),
            config,
        );
        let id = peer.get("/");
        peer.story(id).await;
        assert_eq!(results.borrow()[..], [Ok(StreamId::from_wire(2))]);
    });
}

// Early answers (RFC 9113 §8.1).

#[test]
fn an_answer_before_the_end_of_the_request_is_whole_then_no_error() {
    run_paused(async {
        let (stage, mut peer) = connect(service(|_| {
            let mut response = Response::text("too large");
            response.status = 413;
            response.into()
        }));
        let id = peer.request(&post_head("/", &[]), false);
        peer.data(id, b"first", false);
        let story = peer.story(id).await;
        assert_eq!(head_of(&story).0.status, 413);
        assert_eq!(body_of(&story), b"too large");
        let Cause::Reset { by: Origin::Remote, code } = closed_by(&story) else { panic!("told to stop") };
        assert_eq!(code, ErrorCode::NO_ERROR);
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

// What the application sees of a request.

#[test]
fn fields_reach_the_handler_in_raw_order_with_cookie_crumbs_apart_and_together() {
    run(async {
        let (_stage, mut peer) = connect(service(|request| {
            let names: Vec<_> = request
                .head
                .fields()
                .iter()
                .map(|field| String::from_utf8_lossy(field.name).into_owned())
                .collect();
            assert_eq!(names, ["cookie", "x-b", "cookie", "x-a", "x-b"]);
            let crumbs: Vec<_> = request.head.fields().get_all("cookie").collect();
            assert_eq!(crumbs, [&b"a=1"[..], b"b=2"]);
            Response::text("x").into()
        }));
        let mut head = get_head("/");
        for (name, value) in [("cookie", "a=1"), ("x-b", "1"), ("cookie", "b=2"), ("x-a", ""), ("x-b", "2")] {
            head.fields_mut().push(name, value);
        }
        let id = peer.request(&head, true);
        assert_eq!(head_of(&peer.story(id).await).0.status, 200);
    });
}

#[test]
fn a_body_that_streams_costs_no_empty_frame() {
    run(async {
        let (_stage, mut peer) = connect(service(|_| {
            let chunks =
                futures_util::stream::iter(["a", "b"].map(|chunk| {
                    Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(chunk)))
                }));
            Response::new(200).with_body(Body::stream(http_body_util::StreamBody::new(chunks))).into()
        }));
        let id = peer.get("/");
        let frames = data_frames(&peer.story(id).await);
        assert!(frames.iter().all(|(octets, _)| *octets > 0), "{frames:?}");
        assert!(frames.last().unwrap().1);
    });
}

#[test]
fn what_a_body_gave_before_it_panicked_goes_out_before_the_reset() {
    run(async {
        let (_stage, mut peer) = connect(service(|_| {
            let mut left = Some("given");
            let chunks = futures_util::stream::poll_fn(move |_| {
                let chunk = left.take().expect("a body that panics");
                std::task::Poll::Ready(Some(Ok::<_, std::convert::Infallible>(http_body::Frame::data(
                    Bytes::from(chunk),
                ))))
            });
            Response::new(200).with_body(Body::stream(http_body_util::StreamBody::new(chunks))).into()
        }));
        let id = peer.get("/");
        let story = peer.story(id).await;
        assert_eq!(body_of(&story), b"given");
        let cut = Cause::Reset { by: Origin::Remote, code: ErrorCode::INTERNAL_ERROR };
        assert_eq!(closed_by(&story), cut);
    });
}

#[test]
fn methods_are_any_token() {
    run(async {
        let (stage, mut peer) =
            connect(service(|request| Response::text(request.head.method().to_owned()).into()));
        for method in ["GET", "PATCH", "PROPFIND", "M-SEARCH", "x"] {
            let id = peer.request(&RequestHead::new(method, "http", "a", "/"), true);
            assert_eq!(body_of(&peer.story(id).await), method.as_bytes());
        }
        assert_eq!(Method::from_token(b"PROPFIND"), Method::Other);
        let _: &Rc<Host> = &stage.host;
    });
}
