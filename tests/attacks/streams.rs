//! Streams opened and reset, made to be reset, and opened without end; handlers made to panic.

use crate::harness::{Attack, ends, ends_by, frame, meet, request, until};
use crate::support::client::Speaks;
use crate::support::raw::{DATA, RST_STREAM, WINDOW_UPDATE};
use crate::support::{Gateway, run};

const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A stream counts until its handler has ended, so many at once meet the limit of streams first.
const PROVOKED: [(&str, &str); 2] =
    [("resets_provoked", "provoked_reset"), ("refused_streams", "refused_streams")];

fn id(n: usize) -> u32 {
    2 * n as u32 + 1
}

#[test]
fn rapid_reset_cve_2023_44487() {
    let flood = |n| [request(id(n), "GET", "/delay/30", true), frame(RST_STREAM, 0, id(n), &CANCEL)].concat();
    ends(&Attack::flood(&flood), "resets_received", "rapid_reset");
}

#[test]
fn rapid_reset_of_what_was_answered() {
    let flood =
        |n| [request(id(n), "GET", "/bytes/100000", true), frame(RST_STREAM, 0, id(n), &CANCEL)].concat();
    ends(&Attack::flood(&flood), "resets_received", "rapid_reset");
}

#[test]
fn made_you_reset_by_a_window_update_of_zero_cve_2025_8671() {
    let flood =
        |n| [request(id(n), "GET", "/delay/30", true), frame(WINDOW_UPDATE, 0, id(n), &[0; 4])].concat();
    ends_by(&Attack::flood(&flood), &PROVOKED);
}

#[test]
fn made_you_reset_by_a_window_that_overflows_cve_2025_8671() {
    let most = [0x7f, 0xff, 0xff, 0xff];
    let flood =
        |n| [request(id(n), "GET", "/delay/30", true), frame(WINDOW_UPDATE, 0, id(n), &most)].concat();
    ends_by(&Attack::flood(&flood), &PROVOKED);
}

#[test]
fn made_you_reset_by_a_body_that_is_too_long_cve_2025_8671() {
    let mut block = crate::harness::head("POST", "/delay/30");
    block.extend(crate::harness::block(&[("content-length", "1")]));
    let flood = |n| [frame(1, 4, id(n), &block), frame(DATA, 0, id(n), b"too long")].concat();
    ends_by(&Attack::flood(&flood), &PROVOKED);
}

#[test]
fn reset_flood_by_malformed_requests_cve_2019_9514() {
    let mut block = crate::harness::head("GET", "/");
    block.extend(crate::harness::block(&[("Upper-Case", "x")]));
    ends(&Attack::flood(&|n| frame(1, 5, id(n), &block)), "resets_provoked", "provoked_reset");
}

/// The server was made to reset a stream; what was on its way is nobody's fault, octets one by one without end are.
#[test]
fn data_without_end_on_a_stream_that_is_gone() {
    let first = [request(1, "POST", "/delay/30", false), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat();
    let attack = Attack { settings: &[], first, flood: &|_| frame(DATA, 0, 1, b"x") };
    ends(&attack, "unknown_bytes", "unknown_frames");
}

#[test]
fn streams_beyond_the_limit_without_end() {
    // Those that are refused cost the decoding of their heads.
    let gateway = Gateway::start();
    run(async {
        for (speaks, listener) in [(Speaks::H2c, "plain"), (Speaks::H2, "public")] {
            let flood = |n| request(id(n), "GET", "/delay/30", true);
            let ending = meet(&gateway, speaks, &Attack::flood(&flood)).await;
            assert_eq!(ending.goaway, Some((0xb, "limit reached: refused_streams".to_owned())), "{speaks:?}");
            // REFUSED_STREAM: nothing was done, a retry is safe.
            assert!(ending.resets.iter().filter(|code| **code == 7).count() >= 100, "{:?}", ending.resets);
            let active = [("listener", listener)];
            let scrape = until(&gateway, "stagedoor_streams_active", &active, 0.0).await;
            let of = |kind| scrape.value("stagedoor_abuse_total", &[("listener", listener), ("kind", kind)]);
            assert!(of("refused_streams") == 1.0 && of("streams") >= 100.0, "{speaks:?}");
        }
    });
}

#[test]
fn handlers_made_to_panic() {
    let gateway = Gateway::start();
    run(async {
        for (speaks, listener) in [(Speaks::H2c, "plain"), (Speaks::H2, "public")] {
            // No more than may be open at once, or the limit of streams could be met first.
            let flood = |n| if n < 100 { request(id(n), "GET", "/panic", true) } else { Vec::new() };
            let ending = meet(&gateway, speaks, &Attack::flood(&flood)).await;
            assert_eq!(ending.goaway.map(|(code, _)| code), Some(2), "INTERNAL_ERROR: {speaks:?}");
            let closed = [("listener", listener), ("reason", "panic_budget")];
            let scrape = until(&gateway, "stagedoor_sessions_closed_total", &closed, 1.0).await;
            let panics = [("listener", listener), ("kind", "panics")];
            assert_eq!(scrape.value("stagedoor_abuse_total", &panics), 1.0, "{speaks:?}");
            assert_eq!(scrape.value("stagedoor_actor_panics_total", &[("actor", "session")]), 0.0);
        }
    });
}
