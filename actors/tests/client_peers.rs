//! The client against servers that say exactly what a script tells them: GOAWAY, truncation, limits, pushes,
//! informational heads, and things no server should say.

mod common;

use common::{Raw, RawFrame, frame, run, run_paused, settings_ack, settle};
use stagedoor_actors::client::{
    ClientSession, ClientStream, Connector, Event, Options, RequestError, RequestOptions, RequestParts,
    SendError, SessionEnd, StreamError, StreamState, connect,
};
use stagedoor_actors::{Body, Http2Options, Limits, Padding, SessionError, SessionEvent, Windows};
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::{ErrorCode, Window};

/// `:status 200` alone, without END_STREAM.
fn ok(stream: u32) -> Vec<u8> {
    frame(1, 0x4, stream, &[0x88])
}

/// `:status 200` alone, with END_STREAM.
fn ok_end(stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[0x88])
}

/// A head with a status spelled out and fields, literal and not indexed.
fn head(flags: u8, stream: u32, status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x08, status.len() as u8];
    block.extend(status.as_bytes());
    for (name, value) in fields {
        block.extend([0, name.len() as u8]);
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    frame(1, flags, stream, &block)
}

fn data(stream: u32, octets: &[u8], end: bool) -> Vec<u8> {
    frame(0, u8::from(end), stream, octets)
}

fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(3, 0, stream, &code.0.to_be_bytes())
}

fn goaway(last: u32, code: ErrorCode) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.0.to_be_bytes()].concat();
    frame(7, 0, 0, &payload)
}

fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = entries
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(4, 0, 0, &payload)
}

fn code_of(frame: &RawFrame) -> u32 {
    let at = frame.payload.len().min(8) - 4;
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four octets"))
}

/// A session of ours and the server a script plays.
fn start(options: Options) -> (ClientSession, Raw) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let options = Options { connector: Connector::over(ours), ..options };
    (connect("http://example.com", options).expect("an authority"), Raw::new(theirs))
}

/// The same, SETTINGS exchanged.
async fn shaken(options: Options, entries: &[(u16, u32)]) -> (ClientSession, Raw) {
    let (session, mut peer) = start(options);
    let mut preface = [0; 24];
    tokio::io::AsyncReadExt::read_exact(&mut peer.io, &mut preface).await.expect("the preface");
    assert_eq!(&preface, common::PREFACE);
    peer.until(|frame| frame.kind == 4 && frame.flags == 0).await;
    peer.send(&settings(entries)).await;
    peer.send(&settings_ack()).await;
    peer.until(|frame| frame.kind == 4 && frame.flags == 1).await;
    session.offers_connect_protocol().await.expect("SETTINGS have come");
    (session, peer)
}

fn get(session: &ClientSession) -> ClientStream {
    session.request("/", RequestOptions::default()).expect("a good request")
}

fn post(session: &ClientSession) -> ClientStream {
    session.request(RequestParts::post("/"), RequestOptions::default()).expect("a good request")
}

async fn request_seen(peer: &mut Raw) -> u32 {
    peer.until(|frame| frame.kind == 1).await.stream
}

/// The body of a response, as far as it went, and why it went no further.
async fn read(stream: &mut ClientStream) -> (usize, Option<StreamError>) {
    let mut octets = 0;
    while let Some(chunk) = stream.chunk().await {
        match chunk {
            Ok(chunk) => octets += chunk.len(),
            Err(error) => return (octets, Some(error)),
        }
    }
    (octets, None)
}

#[test]
fn the_options_of_http2_are_a_clients_too() {
    run(async {
        let http2 = Http2Options {
            max_frame_size: 20_000,
            header_table_size: 1000,
            custom_settings: vec![(0xf001, 9)],
            remote_custom_settings: vec![0xf002],
            padding: Padding::Aligned,
            strict_single_value_fields: false,
            max_outstanding_pings: 1,
            ..Http2Options::default()
        };
        let limits = Limits { header_bytes: 5000, ..Limits::default() };
        let windows = Windows {
            stream: Window { start: 70_000, max: 70_000 },
            connection: Windows::default().connection,
        };
        let (session, mut peer) = start(Options { http2, limits, windows, ..Options::default() });
        let mut preface = [0; 24];
        tokio::io::AsyncReadExt::read_exact(&mut peer.io, &mut preface).await.expect("the preface");
        let first = peer.until(|frame| frame.kind == 4).await.payload;
        let said: Vec<_> = first
            .chunks(6)
            .map(|at| (u16::from_be_bytes([at[0], at[1]]), u32::from_be_bytes([at[2], at[3], at[4], at[5]])))
            .collect();
        for entry in [(1, 1000), (2, 0), (4, 70_000), (5, 20_000), (6, 5000), (0xf001, 9)] {
            assert!(said.contains(&entry), "{entry:?} in {said:?}");
        }
        session.ready().await.expect("connected");
        let handle = session.handle().expect("connected");
        let mut events = handle.events();
        peer.send(&settings(&[(0xf002, 4), (0xf003, 5)])).await;
        loop {
            if let Some(SessionEvent::RemoteSettings { changed, .. }) = events.next().await {
                assert_eq!(changed.custom, [(0xf002, 4)]);
                break;
            }
        }
        let _asked = handle.ping(None).expect("one may wait");
        assert!(matches!(handle.ping(None), Err(SessionError::TooManyPings { limit: 1 })));
        let twice = RequestParts::get("/").with_field("user-agent", "a").with_field("user-agent", "b");
        let _passed_on = session.request(twice, RequestOptions::default()).expect("nobody is strict");
        let head = peer.until(|frame| frame.kind == 1).await;
        assert_eq!((9 + head.payload.len()) % 8, 0, "padded");
    });
}

#[test]
fn a_goaway_tells_each_request_whether_it_was_processed() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let (mut first, mut second) = (get(&session), get(&session));
        request_seen(&mut peer).await;
        request_seen(&mut peer).await;
        peer.send(&goaway(1, ErrorCode::NO_ERROR)).await;
        let error = second.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::NO_ERROR }), "{error}");
        assert!(error.is_retry_safe());
        let refused = session.request("/", RequestOptions::default()).unwrap_err();
        assert!(matches!(refused, RequestError::Closing) && refused.is_retry_safe(), "{refused}");
        assert_eq!(session.goaway_code(), Some(ErrorCode::NO_ERROR));
        // What it did take goes on to its good end.
        peer.send(&[ok(1), data(1, b"whole", true)].concat()).await;
        assert_eq!(first.response().await.unwrap().status, 200);
        let (octets, error) = read(&mut first).await;
        assert_eq!(octets, 5);
        assert!(error.is_none(), "{error:?}");
        drop(peer);
        let end = session.ended().await;
        assert!(matches!(end, SessionEnd::Closed { reason: CloseReason::ClientGoaway, .. }), "{end}");
    });
}

#[test]
fn a_goaway_with_an_error_ends_what_may_have_been_processed_with_its_code() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let (mut first, mut second) = (get(&session), get(&session));
        request_seen(&mut peer).await;
        request_seen(&mut peer).await;
        peer.send(&goaway(1, ErrorCode::ENHANCE_YOUR_CALM)).await;
        let error = first.response().await.unwrap_err();
        assert!(matches!(error, StreamError::SessionClosed(_)) && !error.is_retry_safe(), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::ENHANCE_YOUR_CALM));
        let error = second.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::ENHANCE_YOUR_CALM }), "{error}");
        let end = session.ended().await;
        assert_eq!(end.code(), Some(ErrorCode::ENHANCE_YOUR_CALM));
        assert_eq!(peer.goaways().await, [0], "we do not throw the code back");
    });
}

#[test]
fn requests_that_wait_when_goaway_comes_are_safe_to_make_elsewhere() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[(3, 1)]).await;
        let (first, mut waits) = (get(&session), get(&session));
        request_seen(&mut peer).await;
        peer.send(&goaway(1, ErrorCode::NO_ERROR)).await;
        let error = waits.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { .. }) && error.is_retry_safe(), "{error}");
        assert_eq!((waits.id(), first.state()), (None, StreamState::Open));
    });
}

#[test]
fn a_refused_stream_is_safe_to_make_again() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&reset(1, ErrorCode::REFUSED_STREAM)).await;
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::REFUSED_STREAM }), "{error}");
        assert!(error.is_retry_safe());
        assert!(session.takes_requests());
    });
}

#[test]
fn a_reset_brings_its_exact_code() {
    run(async {
        for code in [
            ErrorCode::NO_ERROR,
            ErrorCode::PROTOCOL_ERROR,
            ErrorCode::CANCEL,
            ErrorCode::INTERNAL_ERROR,
            ErrorCode(0x1234),
        ] {
            let (session, mut peer) = shaken(Options::default(), &[]).await;
            let mut stream = get(&session);
            request_seen(&mut peer).await;
            peer.send(&reset(1, code)).await;
            let error = stream.response().await.unwrap_err();
            assert!(matches!(error, StreamError::Reset(found) if found == code), "{error}");
            assert!(!error.is_retry_safe());
            assert_eq!(stream.code(), Some(code));
        }
    });
}

#[test]
fn a_reset_without_end_stream_is_a_truncated_body_whatever_its_code() {
    run(async {
        for code in [ErrorCode::NO_ERROR, ErrorCode::CANCEL] {
            let (session, mut peer) = shaken(Options::default(), &[]).await;
            let mut stream = get(&session);
            request_seen(&mut peer).await;
            peer.send(&[ok(1), data(1, b"half", false), reset(1, code)].concat()).await;
            assert_eq!(stream.response().await.unwrap().status, 200);
            let (octets, error) = read(&mut stream).await;
            assert_eq!(octets, 4, "what came is read");
            assert!(matches!(error, Some(StreamError::Reset(found)) if found == code), "{error:?}");
            assert!(stream.closed().await.is_err());
        }
    });
}

#[test]
fn a_connection_that_ends_without_end_stream_truncates_the_body() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&[ok(1), data(1, b"half", false)].concat()).await;
        drop(peer);
        assert_eq!(stream.response().await.unwrap().status, 200);
        let (octets, error) = read(&mut stream).await;
        assert_eq!(octets, 4);
        assert!(matches!(error, Some(StreamError::SessionClosed(_))), "{error:?}");
    });
}

#[test]
fn fewer_octets_than_content_length_are_malformed() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        let head = head(0x4, 1, "200", &[("content-length", "9")]);
        peer.send(&[head, data(1, b"half", true)].concat()).await;
        stream.response().await.unwrap();
        let (_, error) = read(&mut stream).await;
        assert!(matches!(error, Some(StreamError::Malformed(ErrorCode::PROTOCOL_ERROR))), "{error:?}");
        let seen = peer.until(|frame| frame.kind == 3).await;
        assert_eq!(code_of(&seen), ErrorCode::PROTOCOL_ERROR.0);
    });
}

#[test]
fn a_whole_answer_and_no_error_end_an_upload_without_an_error() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = post(&session);
        request_seen(&mut peer).await;
        peer.send(&[ok(1), data(1, b"enough", true), reset(1, ErrorCode::NO_ERROR)].concat()).await;
        stream.response().await.unwrap();
        let (octets, error) = read(&mut stream).await;
        assert!(octets == 6 && error.is_none(), "{error:?}");
        stream.closed().await.expect("no error");
        assert_eq!(stream.code(), Some(ErrorCode::NO_ERROR));
        assert!(matches!(stream.send_data("more".into()).await, Err(SendError::Unwanted)));
    });
}

#[test]
fn an_upload_the_session_sends_stops_when_it_is_not_wanted() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, std::io::Error>,
        >()));
        let mut stream = session.request(RequestParts::post("/"), RequestOptions::with_body(body)).unwrap();
        request_seen(&mut peer).await;
        peer.send(&[ok_end(1), reset(1, ErrorCode::NO_ERROR)].concat()).await;
        assert_eq!(stream.response().await.unwrap().status, 200);
        stream.closed().await.expect("no error");
    });
}

#[test]
fn requests_wait_at_the_limit_and_go_out_when_it_is_raised() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[(3, 1)]).await;
        let streams: Vec<_> = (0..3).map(|_| get(&session)).collect();
        assert_eq!(request_seen(&mut peer).await, 1);
        settle().await;
        assert_eq!(session.queued(), 2);
        peer.send(&ok_end(1)).await;
        assert_eq!(request_seen(&mut peer).await, 3);
        peer.send(&settings(&[(3, 2)])).await;
        assert_eq!(request_seen(&mut peer).await, 5);
        assert_eq!(streams[2].opened().await.unwrap().get(), 5);
    });
}

#[test]
fn a_server_that_allows_no_stream_keeps_requests_waiting_until_the_session_ends() {
    run(async {
        let (session, peer) = shaken(Options::default(), &[(3, 0)]).await;
        let mut stream = get(&session);
        settle().await;
        assert_eq!(stream.state(), StreamState::Pending);
        drop(peer);
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Cancelled { .. }) && error.is_retry_safe(), "{error}");
    });
}

#[test]
fn before_the_servers_settings_so_many_requests_go_out_and_no_more() {
    run(async {
        let (session, mut peer) = start(Options { initial_max_streams: 2, ..Options::default() });
        let streams: Vec<_> = (0..3).map(|_| get(&session)).collect();
        let mut preface = [0; 24];
        tokio::io::AsyncReadExt::read_exact(&mut peer.io, &mut preface).await.unwrap();
        assert_eq!(request_seen(&mut peer).await, 1);
        assert_eq!(request_seen(&mut peer).await, 3);
        settle().await;
        assert_eq!(session.queued(), 1);
        peer.send(&settings(&[])).await;
        assert_eq!(request_seen(&mut peer).await, 5);
        drop(streams);
    });
}

#[test]
fn informational_heads_come_before_the_response_each_as_its_own_event() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = post(&session);
        request_seen(&mut peer).await;
        let heads = [
            head(0x4, 1, "100", &[]),
            head(0x4, 1, "103", &[("link", "</a>; rel=preload")]),
            head(0x4, 1, "103", &[("link", "</b>; rel=preload")]),
            head(0x5, 1, "204", &[]),
        ];
        peer.send(&heads.concat()).await;
        assert!(matches!(stream.next_event().await, Some(Event::Continue(head)) if head.status == 100));
        for link in ["</a>; rel=preload", "</b>; rel=preload"] {
            let Some(Event::Informational(head)) = stream.next_event().await else { panic!("103 is next") };
            assert_eq!((head.status, head.fields.get("link")), (103, Some(link.as_bytes())));
        }
        assert!(matches!(stream.next_event().await, Some(Event::Response(head)) if head.status == 204));
    });
}

#[test]
fn informational_heads_without_end_end_the_stream() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        for _ in 0..40 {
            peer.send(&head(0x4, 1, "103", &[])).await;
        }
        let error = stream.response().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::ENHANCE_YOUR_CALM), "{error}");
        assert!(session.takes_requests(), "the session goes on");
    });
}

/// PUSH_PROMISE on `parent` of `GET /` at `example.com`.
fn promise(parent: u32, promised: u32) -> Vec<u8> {
    let mut payload = promised.to_be_bytes().to_vec();
    payload.extend([0x82, 0x86, 0x84, 0x01, 11]);
    payload.extend(b"example.com");
    frame(5, 0x4, parent, &payload)
}

fn pushes() -> Options {
    Options { accept_push: true, ..Options::default() }
}

#[test]
fn a_push_that_was_allowed_comes_with_its_request_and_its_response() {
    run(async {
        let (session, mut peer) = shaken(pushes(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&[promise(1, 2), ok(2), data(2, b"pushed", true), ok_end(1)].concat()).await;
        let Some(Event::Push(mut push)) = stream.next_event().await else { panic!("a push comes") };
        assert_eq!((push.head.method(), push.head.path()), ("GET", Some("/")));
        assert_eq!(push.stream.id().unwrap().get(), 2);
        assert_eq!(push.stream.response().await.unwrap().status, 200);
        let (octets, error) = read(&mut push.stream).await;
        assert!(octets == 6 && error.is_none(), "{error:?}");
        assert!(matches!(push.stream.send_data("x".into()).await, Err(SendError::Ended)));
        assert_eq!(stream.response().await.unwrap().status, 200);
    });
}

#[test]
fn a_push_nobody_claims_is_cancelled() {
    run(async {
        let (session, mut peer) = shaken(pushes(), &[]).await;
        let stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&promise(1, 2)).await;
        settle().await;
        drop(stream);
        let seen = peer.until(|frame| frame.kind == 3 && frame.stream == 2).await;
        assert_eq!(code_of(&seen), ErrorCode::CANCEL.0);
    });
}

#[test]
fn more_promises_than_allowed_are_refused() {
    run(async {
        let options = Options { max_pushed_streams: 2, ..pushes() };
        let (session, mut peer) = shaken(options, &[]).await;
        let _stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&[promise(1, 2), promise(1, 4), promise(1, 6)].concat()).await;
        let seen = peer.until(|frame| frame.kind == 3).await;
        assert_eq!((seen.stream, code_of(&seen)), (6, ErrorCode::REFUSED_STREAM.0));
    });
}

#[test]
fn pushes_that_are_whole_and_wait_for_nobody_do_not_pile_up() {
    run(async {
        let (session, mut peer) = shaken(pushes(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        for push in 1..=1000 {
            peer.send(&[promise(1, 2 * push), ok_end(2 * push)].concat()).await;
        }
        peer.send(&ok_end(1)).await;
        assert_eq!(stream.response().await.unwrap().status, 200);
        let mut claimed = 0;
        while let Some(event) = stream.next_event().await {
            claimed += u32::from(matches!(event, Event::Push(_)));
        }
        assert_eq!(claimed, 128, "the first of them wait, the others are cancelled");
    });
}

#[test]
fn a_push_that_was_not_allowed_ends_the_session() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&promise(1, 2)).await;
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::SessionClosed(_)), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::PROTOCOL_ERROR));
        assert_eq!(peer.goaways().await, [ErrorCode::PROTOCOL_ERROR.0]);
    });
}

#[test]
fn a_server_that_speaks_http1_fails_session_and_request() {
    run(async {
        let (session, mut peer) = start(Options::default());
        let mut stream = get(&session);
        let mut preface = [0; 24];
        tokio::io::AsyncReadExt::read_exact(&mut peer.io, &mut preface).await.unwrap();
        request_seen(&mut peer).await;
        peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::SessionClosed(_)), "{error}");
        let end = session.ended().await;
        assert!(matches!(end, SessionEnd::Closed { reason: CloseReason::ProtocolError, .. }), "{end}");
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    run_paused(async {
        let (session, peer) = start(Options::default());
        let mut stream = get(&session);
        let begun = tokio::time::Instant::now();
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::SessionClosed(_)), "{error}");
        assert_eq!(begun.elapsed().as_secs(), 10);
        drop(peer);
    });
}

#[test]
fn a_malformed_response_is_reset_and_told() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = get(&session);
        request_seen(&mut peer).await;
        peer.send(&head(0x5, 1, "200", &[("connection", "close")])).await;
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Malformed(ErrorCode::PROTOCOL_ERROR)), "{error}");
        assert!(session.takes_requests());
    });
}

#[test]
fn a_get_ends_with_its_head_and_a_post_does_not() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let _streams = (get(&session), post(&session));
        let first = peer.until(|frame| frame.kind == 1).await;
        let second = peer.until(|frame| frame.kind == 1).await;
        assert_eq!((first.stream, first.flags & 1), (1, 1));
        assert_eq!((second.stream, second.flags & 1), (3, 0));
    });
}

#[test]
fn end_stream_rides_on_the_last_octets() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = post(&session);
        stream.finish_with("OK".into()).await.unwrap();
        peer.until(|frame| frame.kind == 1).await;
        let last = peer.until(|frame| frame.kind == 0).await;
        assert_eq!((&*last.payload, last.flags), (&b"OK"[..], 1));
        let options = RequestOptions::with_body("whole".into());
        let _whole = session.request(RequestParts::post("/"), options).unwrap();
        let last = peer.until(|frame| frame.kind == 0).await;
        assert_eq!((&*last.payload, last.flags), (&b"whole"[..], 1));
    });
}

#[test]
fn a_reset_in_the_middle_of_an_upload_reaches_the_sender() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = post(&session);
        request_seen(&mut peer).await;
        let sending = actix::spawn(async move {
            loop {
                if let Err(error) = stream.send_data(vec![0; 65_536].into()).await {
                    return error;
                }
            }
        });
        peer.until(|frame| frame.kind == 0).await;
        peer.send(&reset(1, ErrorCode::ENHANCE_YOUR_CALM)).await;
        let error = sending.await.unwrap();
        let SendError::Stream(StreamError::Reset(code)) = error else { panic!("{error}") };
        assert_eq!(code, ErrorCode::ENHANCE_YOUR_CALM);
    });
}

#[test]
fn sending_waits_for_the_servers_windows() {
    run(async {
        let (session, mut peer) = shaken(Options::default(), &[]).await;
        let mut stream = post(&session);
        request_seen(&mut peer).await;
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&sent);
        actix::spawn(async move {
            while stream.send_data(vec![0; 16_384].into()).await.is_ok() {
                counted.set(counted.get() + 16_384);
            }
        });
        settle().await;
        let stuck = sent.get();
        assert!(stuck <= 65_535 + 2 * 65_536, "a window and a queue's worth, not more: {stuck}");
        settle().await;
        assert_eq!(sent.get(), stuck);
        let grown = 1_000_000_u32.to_be_bytes();
        peer.send(&[frame(8, 0, 0, &grown), frame(8, 0, 1, &grown)].concat()).await;
        let mut octets = 0;
        while octets < 1_000_000 {
            octets += peer.until(|frame| frame.kind == 0).await.payload.len();
        }
        assert!(sent.get() > stuck);
    });
}
