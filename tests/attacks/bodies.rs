//! Bodies in next to nothing, and answers that nobody reads.

use crate::harness::{Attack, Usage, ends, frame, request, scrape};
use crate::support::client::{Client, Speaks};
use crate::support::raw::{DATA, Raw, WINDOW_UPDATE};
use crate::support::{Gateway, run};

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

#[test]
fn empty_data_flood_cve_2019_9518() {
    let first = request(1, "POST", "/delay/30", false);
    ends(&Attack { settings: &[], first, flood: &|_| frame(DATA, 0, 1, &[]) }, "empty_data", "empty_data");
}

#[test]
fn padding_without_data() {
    let first = request(1, "POST", "/delay/30", false);
    let padded = [&[255][..], &[0; 255]].concat();
    ends(
        &Attack { settings: &[], first, flood: &|_| frame(DATA, 8, 1, &padded) },
        "empty_data",
        "empty_data",
    );
}

/// A handler that cannot go on reading, because its client takes nothing, and octets one by one behind that.
#[test]
fn small_data_that_nobody_can_read() {
    let mut first = request(1, "POST", "/echo", false);
    for _ in 0..12 {
        first.extend(frame(DATA, 0, 1, &[7; 16_384]));
    }
    let attack = Attack { settings: &[(INITIAL_WINDOW, 0)], first, flood: &|_| frame(DATA, 0, 1, b"x") };
    ends(&attack, "small_data", "small_data");
}

/// DATA of one octet each that a window of ours forces, or that is read at once, is nobody's fault.
#[test]
fn small_data_that_is_read_is_served() {
    let gateway = Gateway::start();
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "POST", "/count", false);
    for _ in 0..5_000 {
        raw.frame(DATA, 0, 1, b"x");
    }
    raw.frame(DATA, 1, 1, b"x");
    let body = raw.body(1, 5);
    assert!(body.starts_with(b"5001"), "{}", String::from_utf8_lossy(&body));
}

/// CVE-2019-9517: windows wide open, the socket never read. What is produced is bounded, and so is the time spent.
#[test]
fn answers_that_nobody_reads_cve_2019_9517() {
    let gateway = Gateway::start();
    let mut raws: Vec<Raw> = Vec::new();
    let before = Usage::of(&gateway);
    for _ in 0..8 {
        let mut raw = Raw::connect(gateway.plain, 0x7fff_ffff);
        raw.frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes());
        for n in 0..100 {
            raw.request(2 * n + 1, "GET", "/bytes/1000000000", true);
        }
        raws.push(raw);
    }
    run(async {
        for speaks in [Speaks::H2c, Speaks::H2] {
            let mut neighbour = Client::connect(&gateway, speaks).await;
            for _ in 0..500 {
                assert_eq!(neighbour.get("/bytes/13").await.body.len(), 13);
            }
        }
        let scrape = scrape(&gateway).await;
        let waiting = scrape.sum("stagedoor_write_queue_bytes", &[("listener", "plain")]);
        // At most 64 KiB a stream and 1.5 MiB of output a session.
        assert!(waiting > 0.0 && waiting < 8.0 * 8e6, "{waiting}");
        let held = scrape.sum("stagedoor_session_memory_bytes", &[("listener", "plain")]);
        assert!(held >= waiting * 0.5 && held < 8.0 * 21e6, "{held} charged, {waiting} waiting");
    });
    let after = Usage::of(&gateway);
    let grown = after.resident.saturating_sub(before.resident);
    assert!(grown < 80 << 20, "{grown} octets for eight sessions with 100 streams each");
    drop(raws);
    run(async {
        // Gone, and nothing is charged any more.
        loop {
            let scrape = scrape(&gateway).await;
            if scrape.sum("stagedoor_sessions_active", &[("listener", "plain")]) == 0.0 {
                assert_eq!(scrape.sum("stagedoor_session_memory_bytes", &[("listener", "plain")]), 0.0);
                assert_eq!(scrape.sum("stagedoor_write_queue_bytes", &[("listener", "plain")]), 0.0);
                break;
            }
        }
    });
}

/// CVE-2019-9511: a window of one octet, opened octet by octet, for many large answers. It is the client's right and costs
/// little; who asks for nothing else is judged by `stall` and `min_rate`.
#[test]
fn data_dribble_cve_2019_9511() {
    let gateway = Gateway::start();
    let before = Usage::of(&gateway);
    let mut raw = Raw::connect(gateway.plain, 1);
    for n in 0..100 {
        raw.request(2 * n + 1, "GET", "/bytes/1000000", true);
    }
    for _ in 0..20 {
        for _ in 0..100 {
            assert_eq!(raw.next_of(DATA).payload.len(), 1);
        }
        for n in 0..100 {
            raw.window_update(2 * n + 1, 1);
        }
    }
    let after = Usage::of(&gateway);
    assert!(after.resident.saturating_sub(before.resident) < 16 << 20);
    assert!((after.processor - before.processor).as_secs_f64() < 4.0);
}
