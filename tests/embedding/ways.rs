//! The ways to answer: functions of extractors, handlers that stay on their thread, and streams in a handler's own hands.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::Frame;
use serde::{Deserialize, Serialize};
use stagedoor::client::{self, ClientSession, Options, RequestOptions, RequestParts, StreamError, connect};
use stagedoor::files::FileResponse;
use stagedoor::{
    App, ErrorCode, Event, Fields, HttpRequest, Json, Params, Path, Query, RequestHead, Response, Server,
    ServerStream, SessionHandle, State, StatusCode, StreamMisuse, any, get, local, on_stream, post,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::site::{Site, sample, system, until};
use crate::support::client::{Answer, Client, Speaks, fed, full, nothing};
use crate::support::run;

/// Asks over each protocol in turn.
async fn everywhere(site: &Site, test: impl AsyncFn(&mut Client, Speaks)) {
    for speaks in Speaks::ALL {
        test(&mut site.client(speaks).await, speaks).await;
    }
}

fn told(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.text())
}

async fn typed(client: &mut Client, target: &str, kind: &str, body: &'static str) -> Answer {
    let request = client.request("POST", target).header("content-type", kind).body(full(body)).unwrap();
    client.whole(request).await.unwrap()
}

#[derive(Deserialize)]
struct Page {
    number: u32,
    size: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

#[derive(Clone)]
struct Missing;

#[test]
fn parameters_and_queries_are_read_as_what_a_handler_asks_for() {
    let app = App::new()
        .route("/one/{id}", get(|Path(id): Path<u64>| async move { format!("{id}") }))
        .route(
            "/two/{user}/{tag}",
            get(|Path((user, tag)): Path<(String, u8)>| async move { format!("{user} {tag}") }),
        )
        .route(
            "/all/{first}/{second}",
            get(|Path(all): Path<HashMap<String, String>>| async move {
                format!("{} {}", all["first"], all["second"])
            }),
        )
        .route("/rest/{*rest}", get(|Path(rest): Path<String>| async move { rest }))
        .route("/few/{one}", get(|Path((_, _)): Path<(String, String)>| async { "never" }))
        .route(
            "/page",
            get(|Query(Page { number, size }): Query<Page>| async move { format!("{number} {size:?}") }),
        );
    run(async {
        let site = Site::of(app).await;
        everywhere(&site, async |client, _| {
            for (target, answer) in [
                ("/one/18446744073709551615", (200, "18446744073709551615")),
                ("/one/-1", (400, "id: \"-1\" is no whole number from 0 on\n")),
                ("/two/ada/7", (200, "ada 7")),
                ("/two/ada/256", (400, "tag: \"256\" is no number from 0 to 255\n")),
                ("/all/a/b", (200, "a b")),
                ("/rest/a/b/c", (200, "a/b/c")),
                ("/few/one", (500, "internal server error\n")),
                ("/page?number=3&size=4", (200, "3 Some(4)")),
                ("/page?number=3", (200, "3 None")),
                // Decoded once, after the pattern has taken its part.
                ("/rest/a%20b%2Fc%C3%A9", (200, "a b/c\u{e9}")),
                ("/rest/100%2525", (200, "100%25")),
                ("/rest/%ff", (400, "the path is not UTF-8\n")),
            ] {
                assert_eq!(told(&client.get(target).await), answer, "{target}");
            }
            for target in ["/page", "/page?number=x", "/page?number=-1"] {
                let answer = client.get(target).await;
                assert_eq!(answer.status, 400, "{target}");
                assert!(answer.text().starts_with("the query: "), "{}", answer.text());
            }
        })
        .await;
        site.stop().await;
    });
}

#[test]
fn json_is_taken_and_given_and_what_is_none_is_told_apart() {
    let older = |Json(user): Json<User>| async move { Json(User { age: user.age + 1, ..user }) };
    let app = App::new().route("/older", post(older)).body_limit(64);
    run(async {
        let site = Site::of(app).await;
        everywhere(&site, async |client, _| {
            let ada = r#"{"name":"ada","age":36}"#;
            let answer = typed(client, "/older", "application/json; charset=utf-8", ada).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
            assert_eq!(answer.json(), serde_json::json!({ "name": "ada", "age": 37 }));
            let status =
                async |client: &mut Client, kind, body| typed(client, "/older", kind, body).await.status;
            assert_eq!(status(client, "text/plain", ada).await, 415);
            assert_eq!(client.post("/older", ada).await.status, 415, "it says nothing of its kind");
            assert_eq!(status(client, "application/json", r#"{"name":"ada","age":"old"}"#).await, 422);
            assert_eq!(status(client, "application/json", r#"{"name":"ada"}"#).await, 422);
            assert_eq!(status(client, "application/json", "{").await, 400);
            assert_eq!(status(client, "application/json", "").await, 400);
            let long = r#"{"name":"somebody whose name is longer than the limit lets through","age":1}"#;
            assert_eq!(status(client, "application/json", long).await, 413);
        })
        .await;
        site.stop().await;
    });
}

#[test]
fn state_is_a_clone_of_what_the_app_has_and_a_mistake_where_it_has_none() {
    let app = App::new()
        .state(Arc::<str>::from("shared"))
        .route("/", get(|State(words): State<Arc<str>>| async move { words.to_string() }))
        .route("/missing", get(|State(_): State<Missing>| async { "never" }));
    run(async {
        let site = Site::of(app).await;
        let mut client = site.client(Speaks::H2c).await;
        assert_eq!(told(&client.get("/").await), (200, "shared"));
        assert_eq!(told(&client.get("/missing").await), (500, "internal server error\n"));
        site.stop().await;
    });
}

#[test]
fn a_body_is_taken_up_to_the_limit_and_not_an_octet_more() {
    let app = App::new()
        .body_limit(16)
        .route("/octets", post(|octets: Bytes| async move { format!("{}", octets.len()) }))
        .route("/text", post(|text: String| async move { text }))
        .route("/without", post(|| async { "unread" }));
    run(async {
        let site = Site::of(app).await;
        for speaks in Speaks::ALL {
            for target in ["/octets", "/text"] {
                let fits = site.client(speaks).await.post(target, "x".repeat(16)).await;
                assert_eq!(fits.status, 200, "{speaks:?} {target}");
                let above = site.client(speaks).await.post(target, "x".repeat(17)).await;
                assert_eq!(told(&above), (413, "the body is larger than allowed\n"), "{speaks:?} {target}");
                // Without a length that was said before.
                for (octets, status) in [(16, 200), (17, 413)] {
                    let mut client = site.client(speaks).await;
                    let (feed, upload) = fed();
                    feed.send(Frame::data(Bytes::from(vec![b'x'; 10]))).unwrap();
                    feed.send(Frame::data(Bytes::from(vec![b'x'; octets - 10]))).unwrap();
                    drop(feed);
                    let request = client.request("POST", target).body(upload).unwrap();
                    assert_eq!(client.whole(request).await.unwrap().status, status, "{speaks:?} {target}");
                }
            }
            let mut client = site.client(speaks).await;
            assert_eq!(client.post("/text", &b"\xff"[..]).await.status, 400);
            assert_eq!(client.post("/without", "x".repeat(17)).await.text(), "unread");
        }
        site.stop().await;
    });
}

#[test]
fn a_handler_sees_the_whole_head_its_session_and_the_request() {
    let head = |method: Method, uri: Uri, headers: HeaderMap| async move {
        let said = headers["x-said"].to_str().unwrap_or_default().to_owned();
        format!("{method} {} {} {said}", uri.path(), uri.query().unwrap_or_default())
    };
    let session = |session: SessionHandle| async move { session.info().protocol };
    let whole = |request: HttpRequest| async move {
        let kind = request.headers()["content-type"].clone();
        let octets = request.into_body().collect(1 << 20).await?;
        let answer = http::Response::builder().header("content-type", kind).body(octets);
        Ok::<_, Box<dyn std::error::Error>>(answer?)
    };
    let app =
        App::new().route("/head", any(head)).route("/session", get(session)).route("/whole", post(whole));
    run(async {
        let site = Site::of(app).await;
        everywhere(&site, async |client, speaks| {
            let request = client.request("DELETE", "/head?a=b").header("x-said", "hello").body(nothing());
            let answer = client.whole(request.unwrap()).await.unwrap();
            assert_eq!(answer.text(), "DELETE /head a=b hello");
            assert_eq!(client.get("/session").await.text(), speaks.name());
            let answer = typed(client, "/whole", "text/x-any", "as it came").await;
            assert_eq!((answer.header("content-type"), answer.text()), ("text/x-any", "as it came"));
        })
        .await;
        site.stop().await;
    });
}

#[test]
fn what_no_route_takes_is_404_and_what_no_method_takes_405() {
    let app = App::new().route("/", get(|| async { "hello" }).post(|| async { StatusCode::CREATED }));
    run(async {
        let site = Site::of(app).await;
        everywhere(&site, async |client, _| {
            assert_eq!(told(&client.get("/nothing").await), (404, "there is nothing here\n"));
            let refused = client.bare("DELETE", "/").await;
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, POST, HEAD"));
            let (head, whole) = (client.bare("HEAD", "/").await, client.get("/").await);
            assert_eq!((head.status, head.header("content-length"), head.text()), (200, "5", ""));
            assert_eq!(head.header("content-type"), whole.header("content-type"));
            assert_eq!(client.post("/", "").await.status, 201);
        })
        .await;
        site.stop().await;
    });
}

#[test]
fn a_mount_takes_everything_below_it_and_the_fallback_the_rest() {
    let path = |name: &'static str| any(move |uri: Uri| async move { format!("{name} {}", uri.path()) });
    let app =
        App::new().mount("/api", path("mount")).route("/api/own", path("route")).fallback(path("fallback"));
    run(async {
        let site = Site::of(app).await;
        let mut client = site.client(Speaks::H2).await;
        for (target, answer) in [
            ("/api", "mount /api"),
            ("/api/", "mount /api/"),
            ("/api/a/b", "mount /api/a/b"),
            ("/api/own", "route /api/own"),
            ("/apis", "fallback /apis"),
            ("/", "fallback /"),
        ] {
            assert_eq!(told(&client.get(target).await), (200, answer));
        }
        site.stop().await;
    });
}

#[test]
fn a_handler_that_stays_on_its_thread_holds_what_cannot_leave_it() {
    let counting = local(|| {
        let served = Rc::new(Cell::new(0));
        move || {
            let served = Rc::clone(&served);
            async move {
                // Across an await it is still held.
                tokio::task::yield_now().await;
                served.set(served.get() + 1);
                served.get().to_string()
            }
        }
    });
    run(async {
        let site = Site::start(Server::new().workers(1).route("/count", counting)).await;
        for (number, speaks) in [Speaks::H2c, Speaks::Http1, Speaks::H2c].into_iter().enumerate() {
            let answer = site.client(speaks).await.get("/count").await;
            assert_eq!(answer.text(), (number + 1).to_string(), "one state for a listener on its worker");
        }
        site.stop().await;
    });
}

#[test]
fn a_whole_response_may_end_with_trailers() {
    let summed = || async {
        let sum = Fields::from_iter([("x-sum", "5")]);
        Response::text("hello").with_field("trailer", "x-sum").with_trailers(sum)
    };
    let app = App::new().route("/", get(summed));
    run(async {
        let site = Site::of(app).await;
        everywhere(&site, async |client, speaks| {
            let request = client.request("GET", "/").header("te", "trailers").body(nothing()).unwrap();
            let answer = client.whole(request).await.unwrap();
            assert_eq!(told(&answer), (200, "hello"), "{speaks:?}");
            assert_eq!(answer.header("content-length"), "", "{speaks:?}: it has no place for trailers");
            assert_eq!(answer.trailers.unwrap()["x-sum"], "5", "{speaks:?}");
            // The answer to HEAD has neither.
            let request = client.request("HEAD", "/").body(nothing()).unwrap();
            let answer = client.whole(request).await.unwrap();
            assert_eq!((told(&answer), &answer.trailers), ((200, ""), &None), "{speaks:?}");
        })
        .await;
        site.stop().await;
    });
}

#[test]
fn a_route_is_counted_under_its_pattern() {
    let app = App::new()
        .route("/users/{id}", get(|Path(_): Path<String>| async { "user" }))
        .fallback(any(|| async { StatusCode::NOT_FOUND }));
    run(async {
        let site = Site::of(app).await;
        let mut client = site.client(Speaks::H2c).await;
        for target in ["/users/1", "/users/2", "/users/%ff", "/else"] {
            client.get(target).await;
        }
        let scrape = site.scrape().await;
        let counted = |route: &str, code: &str| {
            scrape.sum("stagedoor_requests_total", &[("route", route), ("code", code), ("method", "GET")])
        };
        assert_eq!(counted("/users/{id}", "200"), 2.0);
        assert_eq!(counted("/users/{id}", "400"), 1.0);
        assert_eq!(counted("_fallback", "404"), 1.0);
        assert!(!scrape.series.keys().any(|series| series.contains("/users/1")));
        site.stop().await;
    });
}

/// A stream as a handler has it in its own hands, by what its path asks for.
async fn stage(mut stream: ServerStream, params: Params) {
    match params.get("what") {
        Some("hints") => {
            stream
                .informational(103, Fields::from_iter([("link", "</style.css>")]))
                .expect("before the head");
            stream.respond(200, Fields::from_iter([("x-after", "hints")])).expect("the first head");
            assert_eq!(stream.respond(200, Fields::new()), Err(StreamMisuse::HeadSent));
            stream.write_end("page").await.expect("somebody reads");
        }
        Some("trailers") => {
            let octets = sample(300_000);
            stream.write(octets).await.expect("somebody reads");
            stream.trailers(Fields::from_iter([("x-octets", "300000")])).expect("the end");
        }
        Some("push") => {
            let head = RequestHead::new("GET", "http", "localhost", "/style.css");
            let pushed = stream.push(head, Response::text("css")).expect("pushes are taken");
            stream.write_end("page").await.expect("somebody reads");
            assert!(pushed.await.is_ok_and(|id| id.get() % 2 == 0));
        }
        Some("file") => {
            let response = FileResponse::path(file!()).response(stream.head()).await;
            stream.send(response).await.expect("somebody reads");
        }
        Some("echo") => {
            let mut tunnel = stream.tunnel(Fields::new()).expect("it was asked for");
            let mut octets = vec![0; 1024];
            while let Ok(count @ 1..) = tunnel.read(&mut octets).await {
                tunnel.write_all(&octets[..count]).await.expect("somebody reads");
            }
        }
        Some("reset") => {
            stream.write("half").await.expect("somebody reads");
            stream.reset(ErrorCode::ENHANCE_YOUR_CALM).expect("it is open");
        }
        Some("half") => stream.write("half").await.expect("somebody reads"),
        _ => {}
    }
}

/// Runs a test with a session of ours to a site whose streams are [`stage`]d.
fn staged(test: impl AsyncFnOnce(&Site, &ClientSession)) {
    system(async {
        let site = Site::of(App::new().route("/{what}", on_stream(stage))).await;
        let options = Options { accept_push: true, ..Options::default() };
        let session = connect(&format!("http://{}", site.plain()), options).unwrap();
        test(&site, &session).await;
        site.stop().await;
    });
}

fn ask(session: &ClientSession, path: &str) -> client::ClientStream {
    session.request(path, RequestOptions::default()).unwrap()
}

async fn octets(stream: &mut client::ClientStream) -> Result<Vec<u8>, StreamError> {
    let mut octets = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        octets.extend_from_slice(&chunk?);
    }
    Ok(octets)
}

#[test]
fn a_stream_says_what_comes_before_and_after_its_answer() {
    staged(async |_, session| {
        let mut hints = ask(session, "/hints");
        let Some(client::Event::Informational(early)) = hints.next_event().await else { panic!("no 103") };
        assert_eq!((early.status, early.fields.get_str("link")), (103, Some("</style.css>")));
        let head = hints.response().await.unwrap();
        assert_eq!((head.status, head.fields.get_str("x-after")), (200, Some("hints")));
        assert_eq!(octets(&mut hints).await.unwrap(), b"page");

        let mut long = ask(session, "/trailers");
        assert_eq!(octets(&mut long).await.unwrap(), sample(300_000));
        assert_eq!(long.trailers().unwrap().get_str("x-octets"), Some("300000"));
    });
}

#[test]
fn a_stream_pushes_sends_files_and_becomes_a_tunnel() {
    staged(async |_, session| {
        let mut page = ask(session, "/push");
        let Some(client::Event::Push(mut push)) = page.next_event().await else { panic!("no push") };
        assert_eq!(push.head.path(), Some("/style.css"));
        assert_eq!(octets(&mut push.stream).await.unwrap(), b"css");
        assert_eq!(octets(&mut page).await.unwrap(), b"page");

        let mut file = ask(session, "/file");
        assert_eq!(file.response().await.unwrap().status, 200);
        assert_eq!(octets(&mut file).await.unwrap(), std::fs::read(file!()).unwrap());

        let mut tunnel =
            session.connect_tunnel(RequestParts::extended_connect("echo", "/echo")).await.unwrap();
        for words in ["there", "and back"] {
            tunnel.write_all(words.as_bytes()).await.unwrap();
            let mut back = vec![0; words.len()];
            tunnel.read_exact(&mut back).await.unwrap();
            assert_eq!(back, words.as_bytes());
        }
        tunnel.shutdown().await.unwrap();
        assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0, "both sides end");
    });
}

#[test]
fn a_stream_is_reset_by_its_handler_or_for_it_where_it_does_not_answer() {
    staged(async |site, session| {
        let mut events = site.handle.events();
        for (path, code) in [("/reset", ErrorCode::ENHANCE_YOUR_CALM), ("/half", ErrorCode::INTERNAL_ERROR)] {
            let mut cut = ask(session, path);
            assert_eq!(cut.response().await.unwrap().status, 200);
            let error = octets(&mut cut).await.unwrap_err();
            assert!(matches!(error, StreamError::Reset(known) if known == code), "{path}: {error}");
            until(&mut events, |event| {
                matches!(event, Event::StreamClosed { status: 200, .. }).then_some(())
            })
            .await;
        }
        // Nothing was said: a client of any kind understands 500.
        let mut silent = ask(session, "/silent");
        assert_eq!(silent.response().await.unwrap().status, 500);
        let status = until(&mut events, |event| match event {
            Event::StreamClosed { status, .. } => Some(status),
            _ => None,
        });
        assert_eq!(status.await, 500);
        // The session and its other streams go on.
        assert_eq!(octets(&mut ask(session, "/hints")).await.unwrap(), b"page");
    });
}
