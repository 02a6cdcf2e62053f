//! A client of ours against a scripted server.

use stagedoor::client::RequestParts;
use stagedoor::testing::{Client, ErrorCode, Peer, Settings, run, run_paused, settle};

async fn pair(settings: Settings) -> (Peer, Client) {
    let (mut peer, connector) = Peer::serve();
    let client = Client::over(connector);
    peer.shake(settings).await;
    (peer, client)
}

#[test]
fn a_scripted_server_answers() {
    run(async {
        let (mut peer, client) = pair(Settings::default()).await;
        let server = async {
            let request = peer.expect_headers(1).await;
            assert_eq!((request.get(":method"), request.get(":path")), (Some("POST"), Some("/up")));
            assert_eq!(&peer.expect_data(1).await.data[..], b"body");
            peer.respond(1, 103, [("link", "</a>")], false).await;
            peer.respond(1, 201, [("x-by", "script")], false).await;
            peer.data(1, "made", false).await;
            peer.trailers(1, [("x-sum", "4")]).await;
        };
        let (answer, ()) = tokio::join!(client.post("/up", "body"), server);
        answer
            .assert_status(201)
            .assert_header("x-by", "script")
            .assert_text("made")
            .assert_trailer("x-sum", "4");
        assert_eq!(answer.informational[0].status, 103);
    });
}

#[test]
fn a_reset_in_the_middle_is_an_error_of_the_reader() {
    run(async {
        let (mut peer, client) = pair(Settings::default()).await;
        let mut stream = client.stream("/");
        peer.expect_headers(1).await;
        peer.respond(1, 200, [("content-length", "10")], false).await;
        peer.data(1, "half", false).await;
        peer.rst_stream(1, ErrorCode::INTERNAL_ERROR).await;
        assert_eq!(stream.response().await.unwrap().status, 200);
        let error = loop {
            match stream.chunk().await.unwrap() {
                Ok(octets) => assert_eq!(octets, "half"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Some(ErrorCode::INTERNAL_ERROR));
    });
}

#[test]
fn a_client_waits_for_credit() {
    run(async {
        let small = Settings { initial_window_size: Some(3), ..Settings::default() };
        let (mut peer, client) = pair(small).await;
        let stream = client.stream(RequestParts::post("/"));
        let sending = tokio::task::spawn_local(async move {
            let mut stream = stream;
            stream.finish_with("abcdef".into()).await.unwrap();
            stream
        });
        peer.expect_headers(1).await;
        assert_eq!(&peer.expect_data(1).await.data[..], b"abc");
        peer.expect_nothing(1).await;
        peer.window_update(1, 3).await;
        let rest = peer.expect_data(1).await;
        assert_eq!((&rest.data[..], rest.end_stream), (&b"def"[..], true));
        sending.await.unwrap();
    });
}

#[test]
fn a_goaway_says_what_may_be_asked_again() {
    run(async {
        let (mut peer, client) = pair(Settings::default()).await;
        let (mut taken, mut left) = (client.stream("/taken"), client.stream("/left"));
        peer.expect_headers(1).await;
        peer.expect_headers(3).await;
        peer.goaway(1, ErrorCode::NO_ERROR, "").await;
        assert!(left.response().await.unwrap_err().is_retry_safe());
        assert!(!client.takes_requests());
        peer.respond(1, 204, [], true).await;
        assert_eq!(taken.response().await.unwrap().status, 204);
    });
}

#[test]
fn a_client_that_is_dropped_says_goodbye() {
    run(async {
        let (mut peer, client) = pair(Settings::default()).await;
        drop(client);
        assert_eq!(peer.expect_goaway().await.code, ErrorCode::NO_ERROR);
        peer.expect_end().await;
    });
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    run_paused(async |clock| {
        let (mut peer, client) = pair(Settings::default()).await;
        let options = stagedoor::client::RequestOptions {
            response_timeout: Some(std::time::Duration::from_secs(30)),
            ..Default::default()
        };
        let mut stream = client.session().request("/", options).unwrap();
        peer.expect_headers(1).await;
        let before = clock.elapsed();
        stream.response().await.unwrap_err();
        assert_eq!((clock.elapsed() - before).as_secs(), 30);
        assert_eq!(peer.expect_reset(1).await, ErrorCode::CANCEL);
        settle().await;
    });
}
