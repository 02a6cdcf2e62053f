//! Spans that reach a collector: a real gateway, and a collector of the test's own that decodes what arrives.
//! Runs with the feature `otlp`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use support::client::{Client, Speaks, nothing};
use support::{Gateway, run};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What was sent to it.
#[derive(Default)]
struct Arrived {
    requests: Vec<(String, ExportTraceServiceRequest)>,
}

/// Takes batches until the test ends.
fn collector() -> (SocketAddr, Arc<Mutex<Arrived>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let kept = Arc::clone(&arrived);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            take(socket, &kept);
        }
    });
    (address, arrived)
}

fn take(socket: TcpStream, arrived: &Mutex<Arrived>) {
    let mut reader = BufReader::new(&socket);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert_eq!(field("content-type"), Some("application/x-protobuf"), "{head}");
    let mut body = vec![0; field("content-length").unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let batch = ExportTraceServiceRequest::decode(&*body).unwrap();
    // Before the answer: the gateway may end after it.
    arrived.lock().unwrap().requests.push((head.lines().next().unwrap().to_owned(), batch));
    (&socket)
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn attributes(of: &[KeyValue]) -> HashMap<&str, &Value> {
    of.iter().filter_map(|pair| Some((&*pair.key, pair.value.as_ref()?.value.as_ref()?))).collect()
}

fn text(text: &str) -> Value {
    AnyValue { value: Some(Value::StringValue(text.into())) }.value.unwrap()
}

#[test]
fn spans_of_sessions_and_streams_reach_the_collector() {
    let (address, arrived) = collector();
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("access.log");
    let gateway = Gateway::start_with(&[
        "--otlp",
        &format!("http://{address}"),
        "--access-log",
        &format!("json:{}", log.display()),
    ]);
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        for (path, flags) in [("/bytes/1000?secret=1", "01"), ("/bytes/1", "00")] {
            let traceparent = format!("00-{TRACE}-{CALLER}-{flags}");
            let request = client.request("GET", path).header("traceparent", traceparent).body(nothing());
            assert_eq!(client.whole(request.unwrap()).await.unwrap().status, 200);
        }
        assert_eq!(client.get("/delay/0.01").await.status, 200);
        assert_eq!(client.get("/status/503").await.status, 503);
    });
    gateway.terminate();
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("collector"), "{stderr}");

    let arrived = arrived.lock().unwrap();
    let mut spans: Vec<Span> = Vec::new();
    for (line, batch) in &arrived.requests {
        assert_eq!(line, "POST /v1/traces HTTP/1.1");
        for of_resource in &batch.resource_spans {
            let resource = attributes(&of_resource.resource.as_ref().unwrap().attributes);
            assert_eq!(resource["service.name"], &text("stagedoor"));
            spans.extend(of_resource.scope_spans.iter().flat_map(|scope| scope.spans.clone()));
        }
    }
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let sessions = named("session");
    let [session] = &*sessions else { panic!("{spans:?}") };
    assert!(session.parent_span_id.is_empty());
    assert_eq!(attributes(&session.attributes)["stagedoor.listener"], &text("plain"));

    let streams = named("stream");
    assert_eq!(streams.len(), 3, "the one its caller does not record is left out: {streams:?}");
    for span in &streams {
        assert_eq!(span.kind, SpanKind::Server as i32);
        let [link] = &*span.links else { panic!("{span:?}") };
        assert_eq!((&link.trace_id, &link.span_id), (&session.trace_id, &session.span_id));
        assert!(span.start_time_unix_nano >= session.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= session.end_time_unix_nano);
    }
    let of_path = |path: &str| {
        let found = streams.iter().find(|span| attributes(&span.attributes)["url.path"] == &text(path));
        *found.unwrap_or_else(|| panic!("no span of {path} in {streams:?}"))
    };

    let goes_on = of_path("/bytes/1000");
    assert_eq!((hex(&goes_on.trace_id), hex(&goes_on.parent_span_id)), (TRACE.into(), CALLER.into()));
    let found = attributes(&goes_on.attributes);
    assert_eq!(found["http.request.method"], &text("GET"));
    assert_eq!(found["http.response.status_code"], &Value::IntValue(200));
    assert_eq!(found["stagedoor.id"], &Value::IntValue(1));
    assert_eq!(found["stagedoor.route"], &text("demo"));
    assert_eq!(found["stagedoor.outcome"], &text("complete"));
    assert_eq!(found["stagedoor.bytes_out"], &Value::IntValue(1000));
    assert!(matches!(found["stagedoor.duration_seconds"], Value::DoubleValue(seconds) if *seconds >= 0.0));

    // A trace that begins here has the id the access log shows.
    let begins = of_path("/delay/0.01");
    assert!(begins.parent_span_id.is_empty());
    let log = std::fs::read_to_string(log).unwrap();
    let line = log.lines().find(|line| line.contains("/delay/0.01")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trace_id"], hex(&begins.trace_id));

    assert_eq!(of_path("/status/503").status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_eq!(goes_on.status.as_ref().map_or(0, |status| status.code), StatusCode::Unset as i32);
}

#[test]
fn a_collector_that_is_away_stops_no_request() {
    // Nobody listens there once this is dropped.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let gateway = Gateway::start_with(&["--otlp", &format!("http://{address}")]);
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        for _ in 0..600 {
            assert_eq!(client.get("/bytes/1").await.status, 200);
        }
    });
    gateway.process.line(|line| line.contains("the collector takes no spans"));
    gateway.terminate();
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[test]
fn a_collector_of_tls_is_refused_with_a_way_out() {
    let process =
        support::Process::spawn(&["serve", "--plain", "127.0.0.1:0", "--otlp", "https://127.0.0.1:4318"]);
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("only http is spoken to collectors, not https"), "{stderr}");
}
