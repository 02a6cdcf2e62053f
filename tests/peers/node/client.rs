//! Node's client against the compiled gateway: everything its sessions and streams can say to a server, over TLS and in
//! cleartext.

use serde_json::{Value, json};
use stagedoor::demo::octet_at;

use super::{seen, start};
use crate::support::client::Client;
use crate::support::exposition::Scrape;
use crate::support::{Gateway, run, sha256};

/// Where a gateway is reached, and whom to trust there.
fn sites(gateway: &Gateway) -> [(String, String); 2] {
    let ca = gateway.process.ca_pem().to_str().expect("a path of text").to_owned();
    let tls = format!("https://localhost:{}", gateway.public.port());
    [(format!("http://{}", gateway.plain), String::new()), (tls, ca)]
}

/// Runs a scenario on both sites of one gateway, and checks what it saw.
fn both(scenario: &str, check: impl Fn(&Value)) -> Option<Gateway> {
    let gateway = Gateway::start();
    for (site, ca) in sites(&gateway) {
        let seen = seen(start("client.js", &[scenario, &site, &ca])?);
        assert_eq!(seen["errors"], json!([]), "{site}");
        check(&seen);
    }
    Some(gateway)
}

fn octets(length: u64) -> Vec<u8> {
    (0..length).map(octet_at).collect()
}

#[test]
fn node_reads_heads_bodies_and_statuses() {
    both("methods", |seen| {
        let alphabet = String::from_utf8(octets(26)).unwrap();
        assert_eq!(seen["get"], json!([[200], alphabet, "26", "string"]));
        assert_eq!(seen["head"], json!([[200], 0, "26"]));
        assert_eq!(seen["post"], json!([[200], "hello"]));
        assert_eq!(seen["empty"], json!([[200], 0]));
        assert_eq!(seen["nothing"], json!([[204], 0]));
        assert_eq!(seen["missing"], json!([404]));
        assert_eq!(seen["refused"][0], json!([405]));
        assert_eq!(seen["codes"], json!([0, 0, 0, 0, 0, 0, 0]));
        let fields: Value = serde_json::from_str(seen["fields"].as_str().unwrap()).unwrap();
        let sent: Vec<_> = fields["fields"].as_array().unwrap().iter().map(ToString::to_string).collect();
        let raw =
            ["[\"cookie\",\"a=1\"]", "[\"cookie\",\"b=2\"]", "[\"x-twice\",\"1\"]", "[\"x-twice\",\"2\"]"];
        assert_eq!(sent, raw, "as they came: crumbs and repeated fields stay apart");
    });
}

#[test]
fn node_trailers_go_both_ways() {
    both("trailers", |seen| {
        assert_eq!(seen["down"], json!(["42", true, 0]));
        assert_eq!(seen["up"], json!(["one two", "abc", "1, 2", "x-sum", 0]));
        assert_eq!(seen["bare"], json!([0, "yes"]), "trailers without a body");
    });
}

#[test]
fn node_hears_early_hints_before_the_response() {
    both("hints", |seen| {
        assert_eq!(seen["heads"], json!([103, 200]));
        assert_eq!(seen["link"], "</files/style.css>; rel=preload; as=style");
        assert_eq!((&seen["same"], &seen["body"]), (&json!(true), &json!(true)));
    });
}

#[test]
fn aborts_of_node_are_counted_as_resets_by_the_peer() {
    let gateway = both("aborts", |seen| {
        assert_eq!(seen["codes"], json!([8, 8, 8]));
        assert_eq!(seen["errors_of"], json!(["ABORT_ERR", null, "ABORT_ERR"]));
        assert_eq!(seen["after"], json!([200]));
    });
    let Some(gateway) = gateway else { return };
    run(async {
        let scrape = Scrape::read(Client::admin(&gateway).await.get("/metrics").await.text());
        for listener in ["public", "plain"] {
            let of = |outcome| {
                scrape.sum("stagedoor_streams_closed_total", &[("listener", listener), ("outcome", outcome)])
            };
            assert_eq!(
                (of("reset_by_peer"), of("complete"), of("reset_by_us")),
                (3.0, 1.0, 0.0),
                "{listener}"
            );
        }
    });
}

#[test]
fn pings_of_node_are_answered_with_their_payload() {
    both("pings", |seen| {
        assert_eq!((&seen["time"], &seen["same"], &seen["many"]), (&json!(true), &json!(true), &json!(true)));
    });
}

#[test]
fn settings_of_node_are_acknowledged_and_obeyed_and_ours_are_read() {
    both("settings", |seen| {
        let remote = &seen["remote"];
        assert_eq!(remote["maxConcurrentStreams"], 128);
        assert_eq!(remote["enableConnectProtocol"], true);
        assert_eq!(remote["initialWindowSize"], 256 << 10);
        assert_eq!(remote["maxFrameSize"], 16_384);
        assert_eq!(remote["headerTableSize"], 4_096);
        assert_eq!(remote["maxHeaderListSize"], 32 << 10);
        assert_eq!((&seen["first"], &seen["changed"]), (&json!(100_000), &json!(1)));
        assert_eq!((&seen["took"], &seen["pending"]), (&json!(true), &json!(false)));
        assert_eq!((&seen["drops"], &seen["flood"]), (&json!(200), &json!(1_000_000)));
    });
}

#[test]
fn node_opens_a_websocket_by_extended_connect() {
    both("websocket", |seen| {
        assert_eq!((&seen["offered"], &seen["status"]), (&json!(true), &json!(200)));
        assert_eq!(seen["echo"], json!([0x81, 5, "hello"]), "unmasked, as a server sends");
        assert_eq!(seen["pong"], json!([0x8a, "ping"]));
        assert_eq!(seen["bye"], json!([0x88, 1000]));
        assert_eq!(seen["code"], 0);
    });
}

#[test]
fn node_moves_20_mib_each_way_at_once() {
    let expected = sha256(&octets(20 << 20));
    both("bulk", |seen| {
        assert_eq!((&seen["length"], seen["down"].as_str()), (&json!(20 << 20), Some(&*expected)));
        assert_eq!((&seen["up"], &seen["both"]), (&json!(true), &json!(true)));
    });
}

#[test]
fn node_reads_an_early_refusal_whole_and_without_an_error() {
    both("reject", |seen| {
        for one in seen["all"].as_array().unwrap() {
            assert_eq!(*one, json!([[413], "no body is small enough for this path\n", null, 0]));
        }
        assert_eq!(seen["after"], json!([200]));
    });
}

#[test]
fn a_drain_says_goaway_to_node_and_lets_its_stream_finish() {
    for tls in [0, 1] {
        let gateway = Gateway::start();
        let (site, ca) = &sites(&gateway)[tls];
        let Some(node) = start("client.js", &["drain", site, ca]) else { return };
        node.line(|line| line == "runs");
        gateway.terminate();
        let seen = seen(node);
        assert_eq!(seen["goaways"].as_array().unwrap().last(), Some(&json!(0)), "{seen}");
        assert_eq!(seen["late"], "ERR_HTTP2_GOAWAY_SESSION");
        assert_eq!((&seen["heads"], &seen["length"]), (&json!([200]), &json!(300)));
        assert_eq!((&seen["code"], &seen["error"], &seen["errors"]), (&json!(0), &Value::Null, &json!([])));
        let (status, stderr) = gateway.process.ended();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("drained in "), "{stderr}");
    }
}

#[test]
fn node_asks_files_for_ranges_and_on_conditions() {
    both("files", |seen| {
        assert_eq!(seen["whole"], json!([200, true, "bytes"]));
        assert_eq!(seen["parts"], json!([true, true, true]));
        assert_eq!(seen["beyond"], json!([416, true]));
        assert_eq!(seen["same"], json!([304, 0, true]));
        assert_eq!(seen["changed"], 412);
        assert_eq!(seen["stale"], json!([200, true]));
        assert_eq!(seen["head"], json!([200, 0, true]));
    });
}

#[test]
fn node_waits_for_100_continue() {
    both("expect", |seen| {
        assert_eq!(seen["wanted"], json!([[100, 200], true]));
        assert_eq!(seen["unwanted"], json!([[413], null]), "no 100 for what is not read");
        assert_eq!(seen["other"], json!([417]));
    });
}

#[test]
fn node_queues_above_our_limit_of_streams_and_loses_none() {
    both("queue", |seen| {
        assert_eq!((&seen["limit"], &seen["held"]), (&json!(128), &json!(128)));
        assert_eq!((&seen["answered"], &seen["whole"]), (&json!(200), &json!(true)));
    });
}

#[test]
fn node_sees_a_panic_on_its_own_stream_alone() {
    both("faults", |seen| {
        assert_eq!(seen["fallen"], json!([[200], "ERR_HTTP2_STREAM_ERROR", 2]));
        assert_eq!((&seen["early"], &seen["alive"]), (&json!([500]), &json!([204])));
    });
}
