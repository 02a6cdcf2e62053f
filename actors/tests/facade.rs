//! The facade: an `async fn` over the types of the `http` crate, on HTTP/2 and HTTP/1.1 alike.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::rc::Rc;

use bytes::Bytes;
use common::peer::*;
use common::*;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use stagedoor_actors::facade::{
    CollectError, HttpRequest, HttpResponse, IntoResponse, handler, local_handler,
};
use stagedoor_actors::{Body, Service, StreamMisuse};
use stagedoor_metrics::Outcome;
use stagedoor_protocol::{Cause, ErrorCode, Event, Origin, RequestHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn peer(service: Rc<dyn Service>) -> (Stage, Peer) {
    let stage = Stage::new(service);
    let (_, io) = stage.connect();
    (stage, Peer::new(io))
}

/// What one HTTP/1.1 request is answered, in text.
async fn http1(service: Rc<dyn Service>, request: &str) -> String {
    let stage = Stage::new(service);
    let (_, mut io) = stage.connect();
    io.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

async fn describe(request: HttpRequest) -> String {
    let (parts, mut body) = request.into_parts();
    let mut octets = 0;
    while let Some(chunk) = body.chunk().await {
        octets += chunk.unwrap().len();
    }
    let cookie =
        parts.headers.get_all("cookie").iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    format!(
        "{} {} {:?} {octets} {cookie:?} {}",
        parts.method,
        parts.uri,
        parts.version,
        body.session().listener
    )
}

#[test]
fn an_async_fn_sees_the_same_request_on_both_protocols() {
    run(async {
        let (_stage, mut client) = peer(local_handler(describe));
        let id = client.request(&post_head("/p?q=1", &[("cookie", "a=1"), ("cookie", "b=2")]), false);
        client.data(id, b"12345", true);
        let text = String::from_utf8(body_of(&client.story(id).await)).unwrap();
        assert_eq!(text, "POST http://a/p?q=1 HTTP/2.0 5 [\"a=1; b=2\"] test", "crumbs are one field");
        let request = "POST /p?q=1 HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345";
        let text = http1(local_handler(describe), request).await;
        assert!(text.ends_with("POST http://a/p?q=1 HTTP/1.1 5 [\"a=1; b=2\"] test"), "{text}");
    });
}

#[test]
fn connect_is_405_where_no_handler_made_a_tunnel_of_it() {
    run(async {
        async fn friendly(_: HttpRequest) -> &'static str {
            "hello"
        }
        let (_stage, mut client) = peer(local_handler(friendly));
        for head in [RequestHead::connect("a:1"), RequestHead::extended_connect("chat", "http", "a", "/")] {
            let id = client.request(&head, false);
            let story = client.story(id).await;
            let (head, _) = head_of(&story);
            assert_eq!((head.status, head.fields.get("allow")), (405, Some(&b""[..])));
            assert_eq!(body_of(&story), b"no tunnels here\n");
        }
        let request = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n";
        assert!(http1(local_handler(friendly), request).await.starts_with("HTTP/1.1 405 "));
        // What it refuses by itself stays as it says.
        async fn strict(_: HttpRequest) -> StatusCode {
            StatusCode::FORBIDDEN
        }
        let (_stage, mut client) = peer(local_handler(strict));
        let id = client.request(&RequestHead::connect("a:1"), false);
        assert_eq!(head_of(&client.story(id).await).0.status, 403);
    });
}

#[test]
fn a_whole_answer_is_head_and_one_data_frame() {
    run(async {
        async fn hello(_: HttpRequest) -> HttpResponse {
            http::Response::builder().status(201).header("x-a", "b").body("hello".into()).unwrap()
        }
        let (_stage, mut client) = peer(local_handler(hello));
        let id = client.get("/");
        let story = client.story(id).await;
        let (head, end) = head_of(&story);
        assert_eq!((head.status, end), (201, false));
        assert_eq!(head.fields.get("content-length"), Some(&b"5"[..]));
        let frames = story.iter().filter(|event| matches!(event, Event::DataReceived { .. })).count();
        assert_eq!(frames, 1, "no extra empty frame: {story:?}");
    });
}

#[test]
fn trailers_go_both_ways() {
    run(async {
        async fn echo(request: HttpRequest) -> HttpResponse {
            let mut body = request.into_body();
            while body.chunk().await.is_some() {}
            let trailers: HeaderMap = body.trailers().unwrap();
            let frames =
                [Ok::<_, StreamMisuse>(Frame::data(Bytes::from("x"))), Ok(Frame::trailers(trailers))];
            http::Response::new(Body::stream(StreamBody::new(futures_util::stream::iter(frames))))
        }
        let (_stage, mut client) = peer(local_handler(echo));
        let id = client.request(&post_head("/", &[]), false);
        client.conn.send_trailers(id, fields(&[("x-sum", "9")])).unwrap();
        let story = client.story(id).await;
        let trailers = story.iter().find_map(|event| match event {
            Event::TrailersReceived { fields, .. } => fields.get("x-sum").map(<[u8]>::to_vec),
            _ => None,
        });
        assert_eq!(trailers.unwrap(), b"9");
    });
}

#[test]
fn everything_that_looks_like_an_answer_is_one() {
    fn status(value: impl IntoResponse) -> u16 {
        value.into_response().status
    }
    assert_eq!(status("text"), 200);
    assert_eq!(status(String::from("text")), 200);
    assert_eq!(status(Bytes::from_static(b"octets")), 200);
    assert_eq!(status(vec![1_u8]), 200);
    assert_eq!(status(()), 204);
    assert_eq!(status(StatusCode::IM_A_TEAPOT), 418);
    assert_eq!(status((StatusCode::CREATED, "text")), 201);
    assert_eq!(status(Ok::<_, String>("fine")), 200);
    let failed = Err::<(), _>("secret words").into_response();
    assert_eq!(failed.status, 500);
    assert!(matches!(failed.body, Body::Full(text) if !text.starts_with(b"secret")), "its words stay here");
    assert!(matches!(Body::from(""), Body::Empty));
}

#[test]
fn a_handler_that_fails_or_panics_is_a_500_and_the_session_goes_on() {
    run(async {
        async fn fail(request: HttpRequest) -> Result<&'static str, String> {
            assert!(request.uri().path() != "/panic", "asked for");
            if request.uri().path() == "/fail" { Err("no".into()) } else { Ok("fine") }
        }
        let (stage, mut client) = peer(local_handler(fail));
        for (path, status) in [("/fail", 500), ("/panic", 500), ("/", 200)] {
            let id = client.get(path);
            assert_eq!(head_of(&client.story(id).await).0.status, status, "{path}");
        }
        settle().await;
        assert_eq!(stage.outcome(Outcome::Panic), 1);
    });
}

#[test]
fn a_body_is_collected_up_to_its_limit() {
    run(async {
        async fn collect(request: HttpRequest) -> Result<Bytes, StatusCode> {
            match request.into_body().collect(5).await {
                Ok(octets) => Ok(octets),
                Err(CollectError::TooLarge(5)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
                Err(error) => panic!("{error}"),
            }
        }
        async fn answer(request: HttpRequest) -> HttpResponse {
            match collect(request).await {
                Ok(octets) => http::Response::new(octets.into()),
                Err(status) => http::Response::builder().status(status).body(Body::Empty).unwrap(),
            }
        }
        let (_stage, mut client) = peer(local_handler(answer));
        for (pieces, status) in
            [(&[&b"123"[..], b"45"][..], 200), (&[b"123", b"456"], 413), (&[b"123456"], 413)]
        {
            let id = client.request(&post_head("/", &[]), false);
            for piece in pieces {
                client.data(id, piece, false);
                client.flush().await;
                settle().await;
            }
            client.conn.send_data(id, Bytes::new(), true).ok();
            let story = client.story(id).await;
            assert_eq!(head_of(&story).0.status, status);
        }
        let id = client.request(&post_head("/", &[("content-length", "6")]), false);
        let head = client.response(id).await;
        assert_eq!(head.status, 413, "refused by its declared length");
    });
}

#[test]
fn informational_heads_pushes_and_resets_are_reached_from_the_request() {
    run(async {
        async fn page(request: HttpRequest) -> HttpResponse {
            let handle = request.body().handle();
            handle.early_hints(["</a.css>; rel=preload"]).unwrap();
            if request.uri().path() == "/reset" {
                handle.reset(ErrorCode::ENHANCE_YOUR_CALM).unwrap();
            }
            http::Response::new("page".into())
        }
        let (_stage, mut client) = peer(local_handler(page));
        let id = client.get("/");
        let story = client.story(id).await;
        assert!(matches!(&story[0], Event::InformationalReceived { head, .. } if head.status == 103));
        let id = client.get("/reset");
        let cause = Cause::Reset { by: Origin::Remote, code: ErrorCode::ENHANCE_YOUR_CALM };
        assert_eq!(*client.story(id).await.last().unwrap(), Event::StreamClosed { id, cause });
    });
}

#[test]
fn a_handler_serves_every_worker_from_one_factory() {
    run(async {
        let greeting = String::from("hello");
        let factory = handler(move |request: HttpRequest| {
            let greeting = greeting.clone();
            async move { format!("{greeting}, {}", request.uri().path()) }
        });
        for _worker in 0..2 {
            let (_stage, mut client) = peer(factory());
            let id = client.get("/x");
            assert_eq!(body_of(&client.story(id).await), b"hello, /x");
        }
    });
}

#[test]
fn authority_comes_from_host_where_it_must() {
    run(async {
        async fn authority(request: HttpRequest) -> String {
            assert_eq!(request.method(), Method::GET);
            let version = if request.version() == Version::HTTP_2 { 2 } else { 1 };
            format!("{version} {}", request.uri().authority().unwrap())
        }
        let (_stage, mut client) = peer(local_handler(authority));
        let mut head = RequestHead::new("GET", "http", "", "/");
        head.fields_mut().push("host", "b:81");
        let id = client.request(&head, true);
        assert_eq!(body_of(&client.story(id).await), b"2 b:81");
        let text =
            http1(local_handler(authority), "GET / HTTP/1.1\r\nhost: c:82\r\nconnection: close\r\n\r\n")
                .await;
        assert!(text.ends_with("1 c:82"), "{text}");
    });
}

#[test]
fn sensitive_fields_are_never_indexed() {
    run(async {
        async fn secret(request: HttpRequest) -> HttpResponse {
            assert!(request.headers()["x-token"].is_sensitive(), "what came never-indexed is marked");
            let mut value = http::HeaderValue::from_static("s3cret");
            value.set_sensitive(true);
            http::Response::builder().header("x-secret", value).body(Body::Empty).unwrap()
        }
        let (_stage, mut client) = peer(local_handler(secret));
        let mut head = get_head("/");
        head.fields_mut().push_sensitive("x-token", "t");
        let id = client.request(&head, true);
        let (head, _) = head_of(&client.story(id).await);
        let field = head.fields.iter().find(|field| field.name == b"x-secret").unwrap();
        assert!(field.sensitive);
    });
}
