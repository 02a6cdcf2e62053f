//! Node's client against a server made with the library, for what a handler says through its handles: pushes, ALTSVC
//! and ORIGIN, settings of its own, GOAWAY with opaque data, PING, informational heads, resets.

use std::rc::Rc;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use stagedoor::{ListenerConfig, Metrics, Reply, Request, Response, ServerBuilder, Service};
use stagedoor_actors::{AltSvcTarget, Body, Http2Options, SessionError, StreamMisuse};
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, Settings};

use super::{seen, start};
use crate::ours::system;
use crate::support::exposition::Scrape;
use crate::support::peers::Certificate;

/// The handlers, by path.
pub(crate) struct Stagehand;

impl Service for Stagehand {
    fn call(&self, request: Request) -> Reply {
        let path = request.head.path().unwrap_or("/").to_owned();
        match path.as_str() {
            "/page" => page(request),
            "/services" => services(&request).into(),
            "/settings" => settings(request),
            "/goaway" => goaway(request),
            "/failure" => failure(request),
            "/ping" => ping(request),
            "/informational" => informational(&request).into(),
            _ => match path.strip_prefix("/reset/").and_then(|code| code.parse().ok()) {
                Some(code) => reset(request, ErrorCode(code)),
                None => Response::new(404).into(),
            },
        }
    }
}

/// Pushes three resources before it answers; says how many streams were promised, or why none.
fn page(request: Request) -> Reply {
    let handle = request.handle();
    let authority = request.head.authority().unwrap_or("").to_owned();
    let scheme = request.head.scheme().unwrap_or("").to_owned();
    let push = move |path: &str, reply: Reply| {
        handle.push(RequestHead::new("GET", &scheme, &authority, path), reply)
    };
    let css = Response::text("css").with_field("x-pushed", "1");
    let late = Reply::driven(async { panic!("a pushed answer that fails") });
    let promised = [
        push("/style.css", css.into()),
        push("/big", Response::text("b".repeat(300_000)).into()),
        push("/fails", late),
    ];
    Reply::later(async move {
        let mut said = Vec::new();
        for pushed in promised {
            said.push(match pushed {
                Ok(pushed) => pushed.await.map_or_else(|error| error.to_string(), |id| id.to_string()),
                Err(StreamMisuse::PushDisabled) => "disabled".to_owned(),
                Err(error) => error.to_string(),
            });
        }
        Response::text(said.join(" "))
    })
}

/// An alternative for the origin of the stream and for one by name; origins, over TLS.
fn services(request: &Request) -> Response {
    let session = &request.session;
    session.altsvc(AltSvcTarget::Stream(request.stream), "h3=\":8000\"").expect("for this stream");
    session.altsvc(AltSvcTarget::Origin("https://other.example:444"), "h2=\":81\"; ma=60").expect("by name");
    session.origin(&["https://a.example", "https://b.example:8443"]).expect("origins");
    let wrong = session.altsvc(AltSvcTarget::Origin("null"), "h3=\":1\"").expect_err("no origin");
    assert!(matches!(wrong, SessionError::Refused(_)), "{wrong}");
    Response::text("told")
}

/// What both sides have in force, after a change of ours.
fn settings(request: Request) -> Reply {
    Reply::later(async move {
        let session = &request.session;
        let change = Settings { max_concurrent_streams: Some(50), ..Settings::default() };
        let acknowledged = session.settings(change).expect("it may").await.expect("an acknowledgement");
        let remote = session.remote_settings().expect("HTTP/2");
        let local = session.local_settings().expect("HTTP/2");
        let said = json!({
            "took": acknowledged.after.as_nanos() > 0, "streams": local.max_concurrent_streams,
            "custom": remote.custom, "push": remote.enable_push,
        });
        Response::text(said.to_string())
    })
}

fn goaway(request: Request) -> Reply {
    Reply::driven(async move {
        let mut stream = request.into_stream();
        let session = stream.handle().session();
        stream.write("before ").await.expect("it listens");
        session.goaway(ErrorCode::NO_ERROR, "the theatre closes").expect("it may");
        stream.write_end("and after").await.expect("what runs is finished");
    })
}

fn failure(request: Request) -> Reply {
    Reply::later(async move {
        request.session.goaway(ErrorCode::INTERNAL_ERROR, "the stage is on fire").expect("it may");
        std::future::pending().await
    })
}

fn ping(request: Request) -> Reply {
    Reply::later(async move {
        let pong = request.session.ping(Some(*b"to Node!")).expect("it may").await.expect("an answer");
        assert_eq!(&pong.payload, b"to Node!");
        Response::text(format!("{}", pong.rtt.as_nanos() > 0))
    })
}

fn informational(request: &Request) -> Response {
    let handle = request.handle();
    for status in [100, 102, 103, 199] {
        let fields: Fields = [("x-hint", status.to_string())].into_iter().collect();
        handle.informational(status, fields).expect("before the head");
    }
    let forbidden = handle.informational(101, Fields::new());
    assert!(matches!(forbidden, Err(StreamMisuse::Status(101))), "{forbidden:?}");
    Response::new(200).with_body(Body::Empty)
}

/// Half an answer, then RST_STREAM.
fn reset(request: Request, code: ErrorCode) -> Reply {
    Reply::driven(async move {
        let mut stream = request.into_stream();
        stream.write("half").await.expect("it listens");
        stream.handle().reset(code).expect("it is open");
    })
}

fn tls(own: &Certificate) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_file(&own.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// Runs a scenario against both listeners of a server, and checks what it saw: `true` is the one with TLS.
fn both(scenario: &'static str, check: impl Fn(bool, &Value, &Scrape)) {
    system(async {
        for secure in [false, true] {
            let own = Certificate::new();
            let metrics = Metrics::new("stagedoor");
            let mut config = ListenerConfig::new("stage", "127.0.0.1:0".parse().unwrap());
            config.tls = secure.then(|| tls(&own));
            config.options = Http2Options {
                custom_settings: vec![(61_601, 42)],
                remote_custom_settings: vec![61_602],
                ..config.options
            };
            let server = ServerBuilder::new(metrics.clone(), 1)
                .listen(config, Arc::new(|| Rc::new(Stagehand)), false)
                .start()
                .await
                .unwrap();
            let port = server.addresses()[0].1.tcp().unwrap().port();
            let (site, ca) = match secure {
                true => (format!("https://localhost:{port}"), own.paths().0),
                false => (format!("http://127.0.0.1:{port}"), ""),
            };
            let Some(node) = start("library.js", &[scenario, &site, ca]) else { return server.stop().await };
            let seen = tokio::task::spawn_blocking(move || seen(node)).await.unwrap();
            let text = String::from_utf8(metrics.render_text()).unwrap();
            check(secure, &seen, &Scrape::read(&text));
            server.stop().await;
        }
    });
}

#[test]
fn node_takes_what_a_handler_pushes() {
    both("push", |secure, seen, _| {
        assert_eq!(seen["page"], json!([[200], "2 4 6", 0]));
        let pushed = seen["pushed"].as_array().unwrap();
        let paths: Vec<_> = pushed.iter().map(|push| push["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/style.css", "/big", "/fails"]);
        for push in pushed {
            assert_eq!((&push["method"], &push["id"]), (&json!("GET"), &json!(0)));
            let host = if secure { "localhost:" } else { "127.0.0.1:" };
            assert!(push["authority"].as_str().unwrap().starts_with(host), "{push}");
        }
        assert_eq!((&pushed[0]["heads"], &pushed[0]["body"]), (&json!([200]), &json!("css")));
        assert_eq!(pushed[0]["type"], "text/plain; charset=utf-8");
        assert_eq!(pushed[1]["body"].as_str().unwrap().len(), 300_000);
        assert_eq!(pushed[2]["heads"], json!([500]), "a panic of a pushed answer stays with it");
        assert_eq!(seen["errors"], json!([]));
    });
}

#[test]
fn a_node_that_takes_no_push_is_told_to_the_handler() {
    both("unwanted", |_, seen, scrape| {
        assert_eq!((&seen["heads"], &seen["body"]), (&json!([200]), &json!("disabled disabled disabled")));
        assert_eq!(scrape.sum("stagedoor_streams_opened_total", &[]), 1.0);
    });
}

#[test]
fn pushes_that_node_refuses_leave_the_page_whole() {
    both("refusal", |_, seen, scrape| {
        assert_eq!(seen["refused"]["heads"], json!([200]));
        assert_eq!((&seen["refused"]["body"], &seen["refused"]["code"]), (&json!("2 4 6"), &json!(0)));
        assert_eq!(seen["after"].as_array().unwrap().last(), Some(&json!(200)));
        assert_eq!(scrape.sum("stagedoor_streams_opened_total", &[]), 5.0);
        assert_eq!(seen["errors"], json!([]));
    });
}

#[test]
fn node_hears_altsvc_and_origin() {
    both("services", |secure, seen, _| {
        let services =
            [json!(["h3=\":8000\"", "", 1]), json!(["h2=\":81\"; ma=60", "https://other.example:444", 0])];
        assert_eq!(seen["services"], json!(services));
        // Node hears of origins over TLS alone (RFC 8336 §2.4).
        if secure {
            assert_eq!(seen["origins"], json!([["https://a.example", "https://b.example:8443"]]));
            assert_eq!(seen["set"].as_array().unwrap().len(), 3, "{seen}");
        }
        assert_eq!((&seen["body"], &seen["errors"]), (&json!("told"), &json!([])));
    });
}

#[test]
fn custom_settings_and_changes_in_the_middle_reach_node() {
    both("settings", |_, seen, _| {
        assert_eq!(seen["first"]["customSettings"], json!({ "61601": 42 }));
        assert_eq!(seen["first"]["maxConcurrentStreams"], 128);
        assert_eq!(seen["second"]["maxConcurrentStreams"], 50);
        let expected = json!({ "took": true, "streams": 50, "custom": [[61_602, 43]], "push": true });
        assert_eq!(seen["said"], expected);
    });
}

#[test]
fn node_reads_the_opaque_data_of_a_graceful_goaway_and_the_rest_of_its_response() {
    both("goaway", |_, seen, _| {
        assert_eq!((&seen["code"], &seen["opaque"]), (&json!(0), &json!("the theatre closes")));
        assert_eq!((&seen["heads"], &seen["body"]), (&json!([200]), &json!("before and after")));
        assert_eq!(seen["errors"], json!([]));
    });
}

#[test]
fn node_reads_the_opaque_data_of_a_goaway_that_ends_its_session() {
    both("failure", |_, seen, _| {
        assert_eq!(seen["told"], json!([2, "the stage is on fire"]));
        assert_eq!((&seen["error"], &seen["heads"]), (&json!("ERR_HTTP2_SESSION_ERROR"), &json!([])));
        assert_eq!(seen["errors"], json!(["ERR_HTTP2_SESSION_ERROR"]));
    });
}

#[test]
fn node_answers_pings_of_a_handler() {
    both("ping", |_, seen, _| {
        assert_eq!((&seen["heard"], &seen["said"]), (&json!("to Node!"), &json!("true")));
    });
}

#[test]
fn node_hears_every_informational_head() {
    both("informational", |_, seen, _| {
        assert_eq!(seen["heads"], json!([100, 102, 103, 199, 200]));
        assert_eq!((&seen["continued"], &seen["hints"]), (&json!(1), &json!(["100", "102", "103", "199"])));
    });
}

#[test]
fn node_sees_the_exact_code_of_a_reset() {
    both("resets", |_, seen, _| {
        for one in seen["all"].as_array().unwrap() {
            let code = &one[0];
            // CANCEL is no error to Node.
            let error = if *code == json!(8) { Value::Null } else { json!("ERR_HTTP2_STREAM_ERROR") };
            assert_eq!(*one, json!([code, code, [200], error, "half"]));
        }
    });
}
