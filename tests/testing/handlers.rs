//! Handlers and whole answers; bodies bit by bit.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use stagedoor::client::RequestParts;
use stagedoor::facade::local_handler;
use stagedoor::testing::{Client, ErrorCode, Server, run, settle};
use stagedoor::{Body, Fields, HttpRequest, HttpResponse, Reply, Request, Response, Service, handler};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn client_of(server: &Server) -> Client {
    server.client().await
}

/// Says what it was asked.
async fn mirror(request: HttpRequest) -> HttpResponse {
    let (parts, body) = request.into_parts();
    let body = body.collect(1 << 20).await.unwrap_or_default();
    let text = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    http::Response::builder().status(207).header("x-kind", "mirror").body(text.into()).unwrap()
}

#[test]
fn an_answer_has_status_fields_and_text() {
    run(async {
        let server = Server::new(handler(mirror));
        let client = client_of(&server).await;
        client.get("/a?b=c").await.assert_status(207).assert_text("GET http://test/a?b=c ");
        let answer = client.post("/up", "a body").await;
        answer.assert_text("POST http://test/up a body").assert_header("x-kind", "mirror");
        assert_eq!(answer.header("content-length"), Some("26"));
        assert_eq!((answer.trailers.clone(), answer.informational.len()), (None, 0));
        let put = http::Request::put("/put").header("x-a", "1").body("").unwrap();
        assert_eq!(client.request(put).await.text(), "PUT http://test/put ");
    });
}

/// An informational head, a body, trailers.
struct Courses;

impl Service for Courses {
    fn call(&self, request: Request) -> Reply {
        let mut stream = request.into_stream();
        Reply::driven(async move {
            let early: Fields = [("link", "</style.css>")].into_iter().collect();
            stream.informational(103, early).unwrap();
            stream.respond(200, Fields::new()).unwrap();
            stream.write("one ").await.unwrap();
            stream.write("two").await.unwrap();
            stream.trailers([("x-sum", "7")].into_iter().collect()).unwrap();
        })
    }
}

#[test]
fn an_answer_has_all_that_came_before_and_after_its_body() {
    run(async {
        let server = Server::new(std::rc::Rc::new(Courses));
        let answer = client_of(&server).await.get("/").await;
        answer.assert_status(200).assert_text("one two").assert_trailer("x-sum", "7");
        assert_eq!(answer.trailer("x-sum"), Some("7"));
        assert_eq!(answer.informational.len(), 1);
        assert_eq!(answer.informational[0].status, 103);
        assert_eq!(answer.informational[0].headers["link"], "</style.css>");
    });
}

/// Sends every piece back as it comes.
async fn echo(request: HttpRequest) -> HttpResponse {
    let pieces = stream::unfold(request.into_body(), async |mut body| {
        let piece = body.chunk().await?;
        Some((piece.map(http_body::Frame::data), body))
    });
    http::Response::new(Body::stream(StreamBody::new(Box::pin(pieces))))
}

#[test]
fn both_ways_stream_bit_by_bit() {
    run(async {
        let server = Server::new(handler(echo));
        let mut stream = client_of(&server).await.stream(RequestParts::post("/echo"));
        assert_eq!(stream.response().await.unwrap().status, 200, "before any of the body");
        for piece in ["first", "second"] {
            stream.send_data(Bytes::from(piece)).await.unwrap();
            assert_eq!(stream.chunk().await.unwrap().unwrap(), piece);
        }
        assert_eq!(server.open_streams(), 1);
        stream.finish().await.unwrap();
        assert!(stream.chunk().await.is_none());
        settle().await;
        assert_eq!(server.open_streams(), 0);
    });
}

#[test]
fn a_body_larger_than_every_window_arrives_whole() {
    run(async {
        let server = Server::new(handler(echo))
            .config(|config| config.windows.stream = stagedoor::Window { start: 1_000, max: 1_000 });
        let whole = Bytes::from(vec![b'x'; 3 << 20]);
        let answer = client_of(&server).await.post("/", whole.clone()).await;
        assert!(answer.body == whole, "{} octets came back", answer.body.len());
    });
}

#[test]
fn a_handler_shares_with_its_test() {
    run(async {
        let paths = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = std::rc::Rc::clone(&paths);
        let server = Server::new(local_handler(move |request: HttpRequest| {
            seen.borrow_mut().push(request.uri().path().to_owned());
            async { http::StatusCode::ACCEPTED }
        }));
        let client = client_of(&server).await;
        client.get("/a").await.assert_status(202);
        client.get("/b").await.assert_status(202);
        assert_eq!(*paths.borrow(), ["/a", "/b"]);
    });
}

#[test]
fn a_panic_is_of_its_stream_alone() {
    run(async {
        let server = Server::new(handler(async |request: HttpRequest| match request.uri().path() {
            "/broken" => panic!("on purpose"),
            _ => "fine",
        }));
        let client = client_of(&server).await;
        client.get("/broken").await.assert_status(500).assert_text("internal server error\n");
        client.get("/fine").await.assert_text("fine");
    });
}

#[test]
fn a_request_that_comes_to_nothing_is_an_error_to_who_asks_for_it() {
    run(async {
        let server = Server::new(handler(async |request: HttpRequest| {
            request.body().handle().reset(ErrorCode::HTTP_1_1_REQUIRED).unwrap();
            std::future::pending::<()>().await
        }));
        let client = client_of(&server).await;
        let request = http::Request::get("/").body(()).unwrap();
        let error = client.try_request(request).await.unwrap_err();
        assert!(error.to_string().contains("HTTP_1_1_REQUIRED"), "{error}");
    });
}

#[test]
fn octets_of_http1_work_too() {
    run(async {
        let server = Server::new(handler(async |_: HttpRequest| Response::text("plain")));
        let mut io = server.connect();
        io.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("plain"), "{answer}");
        drop(io);
        server.ended().await;
    });
}
