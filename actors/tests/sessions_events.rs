//! What sessions tell: events in their order, a handshake on any stream of octets, alternative services and
//! origins, and what a running server can be told.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use stagedoor_actors::{
    AltSvcTarget, CloseSession, EventStream, ListenerConfig, ReconfigureError, Response, ServerBuilder,
    ServerHandle, SessionError, SessionEvent, SessionHandle, StartError, Timeouts, perform_server_handshake,
};
use stagedoor_metrics::{CloseReason, Metrics, Outcome, TimeoutAction, TimeoutKind};
use stagedoor_protocol::{ErrorCode, Fields, Settings, StreamId, UserError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::advance;

/// A session that shook hands, its handle, and the client on its other end.
async fn open(stage: &Stage) -> (SessionHandle, Raw) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let mut client = Raw::new(theirs);
    let (session, ()) =
        tokio::join!(async { perform_server_handshake(&stage.host, ours).await }, client.shake());
    settle().await;
    (session.unwrap(), client)
}

/// What an event is called, with what tells it apart.
fn name(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Opened => "opened".into(),
        SessionEvent::RemoteSettings { settings, .. } => {
            format!("remote {}", settings.max_concurrent_streams)
        }
        SessionEvent::LocalSettings { settings, .. } => format!("local {}", settings.max_concurrent_streams),
        SessionEvent::GoAway { code, last, opaque } => {
            format!("goaway {code} {} {}", last.get(), String::from_utf8_lossy(opaque))
        }
        SessionEvent::Ping { payload } => format!("ping {}", String::from_utf8_lossy(payload)),
        SessionEvent::Timeout { kind, action, stream } => {
            let on = stream.map(|id| format!(" {}", id.get())).unwrap_or_default();
            format!("timeout {kind} {action}{on}")
        }
        SessionEvent::FrameError { stream, error } => format!("frame error {} {error}", stream.get()),
        SessionEvent::StreamOpened { id, head } => format!("stream {} {}", id.get(), head.method()),
        SessionEvent::StreamAnswered { id, status } => format!("answered {} {status}", id.get()),
        SessionEvent::StreamClosed { id, outcome, .. } => format!("stream {} {outcome}", id.get()),
        SessionEvent::Error { reason, code, .. } => format!("error {reason} {code}"),
        SessionEvent::Closed { reason, .. } => format!("closed {reason}"),
        other => format!("{other:?}"),
    }
}

async fn rest(events: &mut EventStream) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(event) = events.next().await {
        names.push(name(&event));
    }
    names
}

/// Names of everything that happens on the sessions of a stage.
fn watched(stage: &Stage) -> Rc<RefCell<Vec<String>>> {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = Rc::clone(&seen);
    stage.host.observe(move |_: &SessionHandle, event: &SessionEvent| kept.borrow_mut().push(name(event)));
    seen
}

#[test]
fn a_session_tells_its_life_in_order() {
    run_paused(async {
        let stage = Stage::new(hello());
        let seen = watched(&stage);
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&frame(4, 0, 0, &[0, 3, 0, 0, 0, 9])).await;
        client.send(&frame(6, 0, 0, b"knockety")).await;
        client.send(&get(1)).await;
        settle().await;
        client.send(&frame(7, 0, 0, b"\0\0\0\0\0\0\0\0enough")).await;
        // The answer to the PING of the drain.
        client.send(&frame(6, 1, 0, b"draining")).await;
        client.goaways().await;
        drop(client);
        stage.ends_once(CloseReason::ClientGoaway).await;
        let heard = rest(&mut events).await;
        assert_eq!(
            heard,
            [
                "remote 9",
                "ping knockety",
                "stream 1 GET",
                "answered 1 200",
                "stream 1 complete",
                "goaway NO_ERROR 0 enough",
                "closed client_goaway",
            ]
        );
        let seen = seen.borrow();
        assert_eq!(seen[..3], ["opened", "remote 4294967295", "local 128"]);
        assert_eq!(seen[3..], heard, "the host's observer hears the same");
        let goaway = session.goaway_received().unwrap();
        assert_eq!((goaway.code, &goaway.opaque[..]), (ErrorCode::NO_ERROR, &b"enough"[..]));
        assert_eq!(session.remote_settings().unwrap().max_concurrent_streams, 9);
    });
}

#[test]
fn an_error_is_told_before_the_end_and_the_end_once() {
    run_paused(async {
        let stage = Stage::new(forever().0);
        let seen = watched(&stage);
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&get(1)).await;
        // DATA on a stream nobody opened.
        client.send(&frame(0, 0, 5, b"x")).await;
        client.goaways().await;
        drop(client);
        stage.ends_once(CloseReason::ProtocolError).await;
        let heard = rest(&mut events).await;
        assert_eq!(heard[0], "stream 1 GET");
        assert_eq!(
            heard[1..],
            ["stream 1 session_closed", "error protocol_error PROTOCOL_ERROR", "closed protocol_error"]
        );
        // Who comes after the end hears nothing.
        assert!(session.events().next().await.is_none());
        let seen = seen.borrow();
        assert_eq!(seen.iter().filter(|name| name.starts_with("closed")).count(), 1);
        assert_eq!(seen.last().unwrap(), "closed protocol_error");
    });
}

#[test]
fn an_error_of_the_peer_is_told_with_its_code() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&frame(7, 0, 0, b"\0\0\0\0\0\0\0\x0bslower")).await;
        client.goaways().await;
        drop(client);
        stage.ends_once(CloseReason::PeerError).await;
        assert_eq!(
            rest(&mut events).await,
            ["goaway ENHANCE_YOUR_CALM 0 slower", "error peer_error ENHANCE_YOUR_CALM", "closed peer_error"]
        );
    });
}

#[test]
fn a_timeout_is_told_before_what_it_does() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        advance(Timeouts::default().idle).await;
        client.goaways().await;
        drop(client);
        stage.ends_once(CloseReason::IdleTimeout).await;
        let first = events.next().await.unwrap();
        assert!(matches!(
            first,
            SessionEvent::Timeout { kind: TimeoutKind::Idle, action: TimeoutAction::Closed, stream: None }
        ));
        assert_eq!(rest(&mut events).await, ["closed idle_timeout"], "an idle session ends without an error");
    });
}

#[test]
fn a_response_that_cannot_be_sent_is_a_frame_error() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text("x").with_field("bad name", "x").into()));
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 1).await;
        let mut names = Vec::new();
        while names.last().is_none_or(|name: &String| !name.starts_with("frame error")) {
            names.push(name(&events.next().await.unwrap()));
        }
        assert_eq!(names[0], "stream 1 GET");
        drop(session);
    });
}

#[test]
fn what_a_session_did_is_told_at_its_end() {
    run_paused(async {
        let stage = Stage::new(service(|request| match request.stream.get() {
            1 => stagedoor_actors::Reply::later(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Response::text("late")
            }),
            _ => Response::text("at once").into(),
        }));
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&get(1)).await;
        client.send(&get(3)).await;
        let pong = session.ping(Some(*b"12345678")).unwrap();
        client.until(|frame| frame.kind == 6).await;
        advance(Duration::from_millis(5)).await;
        client.send(&frame(6, 1, 0, b"12345678")).await;
        pong.await.unwrap();
        client.until(|frame| frame.stream == 1 && frame.flags & 1 != 0).await;
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
        loop {
            let event = events.next().await.expect("the end is told");
            let SessionEvent::Closed { statistics, .. } = event else { continue };
            assert_eq!((statistics.streams, statistics.streams_peak), (2, 2));
            // Of 0 and 2 s; tokio's timers count milliseconds.
            assert_eq!(statistics.stream_mean.as_millis() / 10, 100);
            assert_eq!(statistics.ping_rtt, Some(Duration::from_millis(5)));
            // SETTINGS, its acknowledgement, two HEADERS, the answer to our PING.
            assert_eq!(statistics.frames_in, 5);
            assert!(statistics.frames_out >= 7, "{statistics:?}");
            assert!(statistics.bytes_in > 24 && statistics.bytes_out > 100, "{statistics:?}");
            assert!(statistics.lasted >= Duration::from_secs(2));
            break;
        }
    });
}

#[test]
fn a_stream_tells_when_its_head_and_its_first_octets_moved() {
    fn wait(tenths: u64) -> tokio::time::Sleep {
        tokio::time::sleep(Duration::from_millis(tenths * 100))
    }
    run_paused(async {
        let stage = Stage::new(service(|request| match request.stream.get() {
            1 => {
                let mut stream = request.into_stream();
                stagedoor_actors::Reply::driven(async move {
                    wait(10).await;
                    stream.respond(200, Fields::new()).unwrap();
                    wait(20).await;
                    stream.write_end("late").await.unwrap();
                })
            }
            3 => Response::text("whole").into(),
            _ => Response::new(204).into(),
        }));
        let (session, mut client) = open(&stage).await;
        let mut events = session.events();
        client.send(&post(1)).await;
        wait(5).await;
        client.send(&frame(0, 1, 1, b"body")).await;
        client.until(|frame| frame.stream == 1 && frame.flags & 1 != 0).await;
        client.send(&get(3)).await;
        client.send(&get(5)).await;
        client.until(|frame| frame.stream == 5).await;
        let mut told = Vec::new();
        while told.len() < 3 {
            let SessionEvent::StreamClosed { times, .. } = events.next().await.unwrap() else { continue };
            // tokio's timers count milliseconds.
            let tenths = |time: Option<Duration>| time.map(|time| (time.as_millis() + 5) / 100);
            told.push([tenths(times.head), tenths(times.first_in), tenths(times.first_out)]);
        }
        assert_eq!(told[0], [Some(10), Some(5), Some(30)]);
        assert_eq!(told[1], [Some(0), None, Some(0)]);
        assert_eq!(told[2], [Some(0), None, None], "204 has no octets");
        drop(client);
    });
}

#[test]
fn who_does_not_read_misses_the_oldest_events_and_not_the_end() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let mut events = session.events_bounded(2);
        for number in 0..5u8 {
            client.send(&frame(6, 0, 0, &[b'0' + number; 8])).await;
        }
        settle().await;
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert!(matches!(events.next().await, Some(SessionEvent::Lagged { missed: 4 })));
        assert_eq!(rest(&mut events).await, ["ping 44444444", "closed client_closed"]);
    });
}

#[test]
fn an_observer_that_panics_does_not_harm_the_session() {
    run_paused(async {
        let stage = Stage::new(hello());
        stage.host.observe(|_: &SessionHandle, _: &SessionEvent| panic!("on purpose"));
        let (_session, mut client) = open(&stage).await;
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 1).await;
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
    });
}

#[test]
fn an_observer_may_order_what_it_likes() {
    run_paused(async {
        let stage = Stage::new(forever().0);
        stage.host.observe(|session: &SessionHandle, event: &SessionEvent| {
            if matches!(event, SessionEvent::StreamOpened { .. }) {
                session.close_with(CloseSession::new(CloseReason::Overload)).unwrap();
            }
        });
        let (_session, mut client) = open(&stage).await;
        client.send(&get(1)).await;
        assert_eq!(client.goaways().await, [ErrorCode::ENHANCE_YOUR_CALM.0]);
        drop(client);
        stage.ends_once(CloseReason::Overload).await;
        assert_eq!(stage.outcome(Outcome::SessionClosed), 1);
    });
}

#[test]
fn octets_that_were_read_before_are_heard_first() {
    run_paused(async {
        let stage = Stage::new(hello());
        let all = [hello_octets(), get(1)].concat();
        for cut in [1, 3, 24, 30, all.len()] {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let handshake = perform_server_handshake(&stage.host, ours)
                .with_preread(all[..cut].to_vec())
                .with_peer(([192, 0, 2, 1], 7).into())
                .start();
            let mut client = Raw::new(theirs);
            client.send(&all[cut..]).await;
            let session = handshake.await.unwrap();
            assert_eq!(session.protocol, "h2c");
            assert_eq!(session.peer, Some(([192, 0, 2, 1], 7).into()));
            let head = client.until(|frame| frame.kind == 1).await;
            assert_eq!(head.stream, 1, "cut at {cut}");
        }
    });
}

#[test]
fn octets_read_before_may_be_http1() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let handshake = perform_server_handshake(&stage.host, ours).with_preread(&b"GET / HT"[..]).start();
        theirs.write_all(b"TP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let session = handshake.await.unwrap();
        assert_eq!(
            (session.protocol, session.is_http2(), session.is_encrypted()),
            ("http/1.1", false, false)
        );
        let mut start = [0; 15];
        theirs.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
    });
}

#[test]
fn a_handshake_that_does_not_come_fails_with_the_reason() {
    run_paused(async {
        let stage = Stage::new(hello());
        let seen = watched(&stage);
        let (ours, _theirs) = tokio::io::duplex(64);
        let handshake = perform_server_handshake(&stage.host, ours).start();
        let failed = handshake.await.unwrap_err();
        assert_eq!(failed, SessionError::Gone { reason: CloseReason::PrefaceTimeout });
        let (ours, _theirs) = tokio::io::duplex(64);
        assert_eq!(
            perform_server_handshake(&stage.host, ours).with_tls().err(),
            Some(SessionError::NoTls),
            "no TLS where none is configured"
        );
        assert_eq!(seen.borrow()[..], ["error preface_timeout SETTINGS_TIMEOUT", "closed preface_timeout"]);
    });
}

#[test]
fn alternative_services_and_origins_go_out_as_frames() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        session.altsvc(AltSvcTarget::Origin("https://a.example:443/x"), "h3=\":443\"").unwrap();
        let altsvc = client.until(|frame| frame.kind == 0xa).await;
        assert_eq!((altsvc.stream, &altsvc.payload[..]), (0, &b"\0\x11https://a.exampleh3=\":443\""[..]));
        session.origin(&["https://b.example", "http://c.example:8080"]).unwrap();
        let origin = client.until(|frame| frame.kind == 0xc).await;
        assert_eq!(&origin.payload[..], b"\0\x11https://b.example\0\x15http://c.example:8080");
        // What cannot be sent is refused by the call.
        let refused = |error| Err(SessionError::Refused(error));
        assert_eq!(session.altsvc(AltSvcTarget::Origin("https://a"), ""), refused(UserError::AltSvcValue));
        assert_eq!(session.origin(&["null"]), refused(UserError::InvalidOrigin("null".into())));
        assert_eq!(
            session.altsvc(AltSvcTarget::Origin("https://a"), &"x".repeat(16_374)),
            refused(UserError::FrameTooLong { frame: "ALTSVC", length: 16_383, limit: 16_382 })
        );
        // A stream nobody opened: nothing is sent, and that is told.
        let mut events = session.events();
        session.altsvc(AltSvcTarget::Stream(StreamId::from_wire(9)), "clear").unwrap();
        assert!(
            matches!(events.next().await, Some(SessionEvent::FrameError { stream, .. }) if stream.get() == 9)
        );
    });
}

#[test]
fn the_state_of_a_session_has_the_nine_figures_of_node_and_more() {
    run_paused(async {
        let stage = Stage::new(forever().0);
        let (session, mut client) = open(&stage).await;
        client.send(&post(1)).await;
        client.send(&frame(0, 0, 1, &[0; 1000])).await;
        settle().await;
        let snapshot = session.state().unwrap().await.unwrap();
        let state = snapshot.connection;
        assert_eq!(state.recv_window_target, 1 << 20); // effectiveLocalWindowSize
        assert_eq!(state.recv_unreturned, 1000); // effectiveRecvDataLength
        assert_eq!(state.next_stream_id, Some(StreamId::from_wire(2))); // nextStreamID
        assert_eq!(state.recv_window, (1 << 20) - 1000); // localWindowSize
        assert_eq!(state.last_processed.get(), 1); // lastProcStreamID
        assert_eq!(state.send_window, 65_535); // remoteWindowSize
        assert_eq!(state.queued, 0); // outboundQueueSize
        assert_eq!((state.encoder_table, state.decoder_table), (0, 43)); // deflate and inflate table
        assert_eq!((state.streams_remote, state.streams_local), (1, 0));
        assert_eq!((state.settings_pending, state.pings_pending), (0, 0));
        assert_eq!(snapshot.local_settings.max_concurrent_streams, 128);
        // The same for whoever looks from outside.
        let id = session.id.clone();
        assert!(stage.metrics.live().get(id.parse().unwrap()).is_some());
    });
}

async fn serve(listener: ListenerConfig, seen: Arc<Mutex<Vec<String>>>) -> ServerHandle {
    ServerBuilder::new(Metrics::new("stagedoor"), 2)
        .listen(listener, Arc::new(hello), false)
        .observe(Arc::new(move || {
            let seen = Arc::clone(&seen);
            Rc::new(move |session: &SessionHandle, event: &SessionEvent| {
                seen.lock().unwrap().push(format!("{} {}", session.listener, name(event)));
            })
        }))
        .start()
        .await
        .unwrap()
}

/// The SETTINGS a new connection to the server begins with.
async fn first_settings(server: &ServerHandle) -> (TcpStream, Vec<(u16, u32)>) {
    let mut socket = TcpStream::connect(server.addresses()[0].1.tcp().unwrap()).await.unwrap();
    socket.write_all(&hello_octets()).await.unwrap();
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS is first");
    let mut payload = vec![0; usize::from(head[2])];
    socket.read_exact(&mut payload).await.unwrap();
    let entry =
        |at: &[u8]| (u16::from_be_bytes([at[0], at[1]]), u32::from_be_bytes([at[2], at[3], at[4], at[5]]));
    let entries = payload.chunks(6).map(entry).collect();
    (socket, entries)
}

#[test]
fn a_server_can_be_told_other_settings_for_new_sessions_and_tells_what_happens() {
    run(async {
        let seen = Arc::default();
        let server = serve(config(), Arc::clone(&seen)).await;
        let (_first, before) = first_settings(&server).await;
        assert!(before.contains(&(3, 128)), "{before:?}");
        let settings =
            Settings { max_concurrent_streams: Some(5), custom: vec![(0xf123, 7)], ..Settings::default() };
        server.update_settings("test", settings).await.unwrap();
        let (second, after) = first_settings(&server).await;
        assert!(after.contains(&(3, 5)) && after.contains(&(0xf123, 7)), "{after:?}");
        let none = Settings { max_concurrent_streams: Some(0), ..Settings::default() };
        let error = server.update_settings("test", none).await.unwrap_err();
        assert!(
            matches!(&error, ReconfigureError::Config(error) if error.option == "limits.streams_per_session")
        );
        let push = Settings { enable_push: Some(true), ..Settings::default() };
        let error = server.update_settings("test", push).await.unwrap_err();
        assert!(matches!(error, ReconfigureError::Settings(_)), "{error}");
        let error = server.update_settings("tset", Settings::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no listener \"tset\"");
        // Sessions that begin later have other deadlines; this one has an idle time of its own.
        let timeouts = Timeouts { idle: Duration::from_millis(20), ..Timeouts::default() };
        server.set_timeouts("test", timeouts).await.unwrap();
        let (mut third, _) = first_settings(&server).await;
        third.write_all(&settings_ack()).await.unwrap();
        let mut octets = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), third.read_to_end(&mut octets)).await;
        assert!(ended.is_ok(), "the third session was idle");
        // The first two are idle as well, and end by order.
        assert_eq!(server.close_idle().await, 2);
        drop(second);
        server.close().await;
        assert!(server.sessions().await.is_empty());
        let seen: Vec<String> = std::mem::take(&mut *seen.lock().unwrap());
        assert!(seen.contains(&"test opened".to_owned()), "{seen:?}");
        assert!(seen.contains(&"test closed idle_timeout".to_owned()), "{seen:?}");
        assert_eq!(seen.iter().filter(|name| name.starts_with("test closed")).count(), 3, "{seen:?}");
        server.stop().await;
    });
}

#[test]
fn a_listener_that_was_told_what_cannot_be_does_not_start() {
    run(async {
        let mut listener = config();
        listener.options.max_frame_size = 1;
        let builder = ServerBuilder::new(Metrics::new("stagedoor"), 1);
        let error = builder.listen(listener, Arc::new(hello), false).start().await.err().unwrap();
        assert!(matches!(error, StartError::Config(_)));
        assert_eq!(
            error.to_string(),
            "listener \"test\": options.max_frame_size is 1, and must be between 16384 and 16777215"
        );
    });
}
