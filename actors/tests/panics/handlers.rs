//! In what an application writes: the service, a handler, the body it makes, a push, a tunnel.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use stagedoor_actors::{Body, Expectation, Reply, Request, Response, Service};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome, RouteId};
use stagedoor_protocol::{Event, Fields, RequestHead};

use crate::common::peer::{get_head, post_head};
use crate::common::run_paused;
use crate::{BY_US, Http1, Scene, Seen, WHOLE};

const ERROR: &[u8] = b"internal server error\n";

fn at_once(_: Request) -> Reply {
    panic!("at once, on purpose")
}

fn later(request: Request) -> Reply {
    Reply::later(async move {
        let _kept = request;
        tokio::task::yield_now().await;
        panic!("later, on purpose")
    })
}

fn driven(request: Request) -> Reply {
    let _stream = request.into_stream();
    Reply::driven(async { panic!("before it says anything, on purpose") })
}

/// Before the head: a 500 on its stream, nothing else.
#[test]
fn before_the_head_it_is_a_500() {
    for answer in [at_once, later, driven] {
        run_paused(async move {
            let mut scene = Scene::new(answer).await;
            let expected = Seen { status: 500, body: ERROR.to_vec(), cause: WHOLE };
            assert_eq!(scene.ask(&get_head("/x")).await, expected);
            scene.lives_on().await;
            scene.counted(1, Outcome::Panic, 1);
        });
        run_paused(async move {
            let mut http1 = Http1::new(answer).await;
            let (answer, goes_on) = http1.get("/x").await;
            assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("error\n"), "{answer}");
            assert!(answer.contains("connection: close") && !goes_on, "{answer}");
            let scene = http1.ends_for(CloseReason::ClientClosed).await;
            scene.counted(1, Outcome::Panic, 1);
        });
    }
}

/// A body that gives two pieces, then panics.
fn body() -> Body {
    let pieces = futures_util::stream::iter(0..3).map(|piece| {
        assert!(piece < 2, "in the body, on purpose");
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"piece")))
    });
    Body::stream(StreamBody::new(pieces))
}

fn streamed(_: Request) -> Reply {
    Response::new(200).with_body(body()).into()
}

fn driven_on(request: Request) -> Reply {
    let mut stream = request.into_stream();
    Reply::driven(async move {
        stream.write("piecepiece").await.unwrap();
        panic!("in the middle, on purpose")
    })
}

fn sent(request: Request) -> Reply {
    let mut stream = request.into_stream();
    Reply::driven(async move { stream.send(Response::new(200).with_body(body())).await.unwrap() })
}

/// After the head: the stream is reset behind the octets it gave; on HTTP/1.1 the connection has to go.
#[test]
fn after_the_head_it_is_a_reset() {
    for answer in [streamed, driven_on, sent] {
        run_paused(async move {
            let mut scene = Scene::new(answer).await;
            let expected = Seen { status: 200, body: b"piecepiece".to_vec(), cause: BY_US };
            assert_eq!(scene.ask(&get_head("/x")).await, expected);
            scene.lives_on().await;
            scene.counted(1, Outcome::Panic, 1);
        });
        run_paused(async move {
            let mut http1 = Http1::new(answer).await;
            let (answer, goes_on) = http1.get("/x").await;
            assert!(answer.contains("piece") && !answer.contains("0\r\n\r\n") && !goes_on, "{answer}");
            let scene = http1.ends_for(CloseReason::PanicBudget).await;
            scene.counted(1, Outcome::Panic, 1);
        });
    }
}

/// What a handler read or not, and what it was given, is not lost to its neighbours.
#[test]
fn the_windows_of_unread_octets_come_back() {
    run_paused(async {
        let mut config = crate::common::config();
        config.options.budgets.panics = 100;
        let answer = crate::place(|request| match request.head.path() {
            Some("/echo") => Response::new(200).with_body(Body::stream(request.body)).into(),
            _ => later(request),
        });
        let mut scene = Scene::with(config, answer).await;
        // Four times what the connection's window is.
        for _ in 0..64 {
            let id = scene.victim.request(&post_head("/x", &[]), false);
            scene.victim.conn.send_data(id, vec![7; 65_000].into(), true).unwrap();
            assert_eq!(scene.see(id).await.status, 500);
        }
        let id = scene.victim.request(&post_head("/echo", &[]), false);
        scene.victim.conn.send_data(id, vec![7; 200_000].into(), true).unwrap();
        assert_eq!(scene.see(id).await.body.len(), 200_000);
        scene.counted(64, Outcome::Panic, 64);
    });
}

/// The other calls of a service.
#[test]
fn in_the_other_calls_of_a_service_it_is_a_500() {
    struct Panics(&'static str);

    impl Panics {
        fn maybe(&self, here: &str, head: &RequestHead) {
            assert!(self.0 != here || head.path() == Some("/"), "in {here}, on purpose");
        }
    }

    impl Service for Panics {
        fn route(&self, head: &RequestHead) -> RouteId {
            self.maybe("route", head);
            RouteId::UNMATCHED
        }

        fn expect(&self, head: &RequestHead) -> Expectation {
            self.maybe("expect", head);
            Expectation::Continue
        }

        fn call(&self, _: Request) -> Reply {
            Response::text("fine").into()
        }
    }

    for call in ["route", "expect"] {
        run_paused(async move {
            let mut scene = Scene::with(crate::common::config(), std::rc::Rc::new(Panics(call))).await;
            let head = post_head("/x", &[("expect", "100-continue")]);
            let seen = scene.ask(&head).await;
            assert_eq!((seen.status, seen.cause), (500, WHOLE), "{call}");
            scene.lives_on().await;
            scene.counted(1, Outcome::Panic, 1);
        });
    }
}

/// The page is whole, its push is a 500.
#[test]
fn in_a_pushed_answer_it_is_a_500_there() {
    for late in [false, true] {
        run_paused(async move {
            let mut scene = Scene::new(move |request| {
                let pushed = match late {
                    true => later as fn(Request) -> Reply,
                    false => |_| Reply::driven(async { panic!("a push, on purpose") }),
                };
                let handle = request.handle();
                handle.push(get_head("/style"), pushed(request)).unwrap();
                Response::text("page").into()
            })
            .await;
            let page = scene.victim.get("/x");
            let (mut pushed, mut told) = (None, Vec::new());
            while pushed.is_none() || told.len() < 2 {
                let event = scene.victim.next().await.unwrap();
                match &event {
                    Event::PushPromised { promised, .. } => pushed = Some(*promised),
                    Event::ResponseReceived { id, head, .. } => told.push((*id, head.status)),
                    _ => {}
                }
            }
            told.sort_unstable();
            assert_eq!(told, [(pushed.unwrap(), 500), (page, 200)]);
            scene.lives_on().await;
            scene.counted(1, Outcome::Panic, 1);
        });
    }
}

/// A tunnel is reset where there are others beside it, and is all there is on HTTP/1.1.
#[test]
fn in_a_tunnel_it_is_a_reset() {
    fn answer(request: Request) -> Reply {
        let run = |mut tunnel: stagedoor_actors::Tunnel| async move {
            let chunk = tunnel.chunk().await;
            tokio::io::AsyncWriteExt::write_all(&mut tunnel, b"back").await.unwrap();
            panic!("after {chunk:?}, on purpose")
        };
        request.accept_tunnel(Fields::new(), run).unwrap()
    }
    run_paused(async {
        let mut scene = Scene::new(answer).await;
        let id = scene.victim.request(&RequestHead::connect("b:99"), false);
        scene.victim.data(id, b"octets", false);
        assert_eq!(scene.see(id).await, Seen { status: 200, body: b"back".to_vec(), cause: BY_US });
        scene.lives_on().await;
        scene.counted(1, Outcome::Panic, 1);
    });
    run_paused(async {
        let mut http1 = Http1::new(answer).await;
        let upgrade = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\noctets";
        let (answer, goes_on) = http1.talk(upgrade).await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("back") && !goes_on, "{answer}");
        let scene = http1.ends_for(CloseReason::Upgraded).await;
        scene.counted(1, Outcome::Panic, 1);
        assert_eq!(scene.panics(ActorKind::Stream), 1);
    });
}
