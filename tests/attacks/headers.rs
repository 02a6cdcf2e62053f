//! Header blocks that never end, or that are small and become large.

use crate::harness::{Attack, CALM, block, ends, frame, head, meet, scrape};
use crate::support::client::Speaks;
use crate::support::raw::HEADERS;
use crate::support::{Gateway, run};

const CONTINUATION: u8 = 9;

/// HEADERS without END_HEADERS.
fn open() -> Vec<u8> {
    frame(HEADERS, 1, 1, &head("GET", "/"))
}

#[test]
fn continuation_flood_vu_421644() {
    let some = block(&[("x-some", "thing")]);
    let flood = |_| frame(CONTINUATION, 0, 1, &some);
    ends(&Attack { settings: &[], first: open(), flood: &flood }, "continuations", "continuation");
}

#[test]
fn empty_continuation_flood_cve_2019_9518() {
    let flood = |_| frame(CONTINUATION, 0, 1, &[]);
    ends(&Attack { settings: &[], first: open(), flood: &flood }, "empty_continuations", "continuation");
}

#[test]
fn a_header_block_without_end() {
    let large = vec![0x40; 16_384];
    let flood = |_| frame(CONTINUATION, 0, 1, &large);
    ends(&Attack { settings: &[], first: open(), flood: &flood }, "header_block_bytes", "header_bytes");
}

/// A literal that goes into the table, then references to it: octets that become `4 096` each.
#[test]
fn hpack_bomb_cve_2016_6581() {
    let mut entry = vec![0x40, 1, b'x', 0x7f];
    entry.extend([0x80 | (3_900 - 127 - 0x80 * 29) as u8, 29]);
    entry.extend(vec![b'y'; 3_900]);
    let bomb = [head("GET", "/"), entry, vec![0xbe; 10_000]].concat();
    let flood = |n| frame(HEADERS, 5, 2 * n as u32 + 1, &bomb);
    ends(&Attack::flood(&flood), "header_list_factor", "header_list");
}

/// The same with an entry that has next to no octets: what costs is the field, not its size.
#[test]
fn http2_bomb_cve_2026_49975() {
    let bomb = [head("GET", "/"), vec![0x40, 1, b'x', 0], vec![0xbe; 15_000]].concat();
    let flood = |n| frame(HEADERS, 5, 2 * n as u32 + 1, &bomb);
    ends(&Attack::flood(&flood), "header_list_factor", "header_list");
}

/// Cookie crumbs count one by one; below the point where a session is ended each request is answered 431.
#[test]
fn a_flood_of_fields_is_answered_431() {
    let gateway = Gateway::start();
    run(async {
        for (speaks, listener) in [(Speaks::H2c, "plain"), (Speaks::H2, "public")] {
            let crumbs =
                [head("GET", "/"), vec![0x40, 6], b"cookie".to_vec(), vec![1, b'a'], vec![0xbe; 1_000]];
            let crumbs = crumbs.concat();
            // So many, then the peer goes in good order.
            let flood = |n| match n {
                0..500 => frame(HEADERS, 5, 2 * n as u32 + 1, &crumbs),
                500 => frame(7, 0, 0, &[0; 8]),
                _ => Vec::new(),
            };
            let ending = meet(&gateway, speaks, &Attack::flood(&flood)).await;
            assert_ne!(ending.goaway.map(|(code, _)| code), Some(CALM), "{speaks:?}");
            let scrape = scrape(&gateway).await;
            let labels = [("listener", listener), ("kind", "header_fields")];
            assert!(scrape.value("stagedoor_abuse_total", &labels) >= 128.0, "{speaks:?}");
            assert!(
                scrape.sum("stagedoor_requests_total", &[("listener", listener), ("code", "431")]) >= 128.0
            );
        }
    });
}

#[test]
fn a_table_larger_than_allowed_is_a_compression_error() {
    let gateway = Gateway::start();
    run(async {
        for speaks in [Speaks::H2c, Speaks::H2] {
            // A size update to 2^20.
            let update = [vec![0x3f, 0xe1, 0xff, 0x3f], head("GET", "/")].concat();
            let flood = |n| frame(HEADERS, 5, 2 * n as u32 + 1, &update);
            let ending = meet(&gateway, speaks, &Attack::flood(&flood)).await;
            assert_eq!(ending.goaway.map(|(code, _)| code), Some(9), "COMPRESSION_ERROR: {speaks:?}");
        }
    });
}
