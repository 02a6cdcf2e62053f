//! Floods of frames that want an answer, or none: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, types nobody knows.

use crate::harness::{Attack, CALM, ends, frame, meet, request};
use crate::support::client::Speaks;
use crate::support::raw::{PING, SETTINGS, WINDOW_UPDATE};
use crate::support::{Gateway, run};

#[test]
fn ping_flood_cve_2019_9512() {
    ends(&Attack::flood(&|n| frame(PING, 0, 0, &(n as u64).to_be_bytes())), "pings", "ping");
}

#[test]
fn answers_to_pings_that_nobody_sent() {
    ends(&Attack::flood(&|n| frame(PING, 1, 0, &(n as u64).to_be_bytes())), "pings", "ping");
}

#[test]
fn settings_flood_cve_2019_9515() {
    ends(&Attack::flood(&|_| frame(SETTINGS, 0, 0, &[])), "settings", "settings");
}

#[test]
fn a_large_settings_frame_cve_2020_11080() {
    let many = [0x0f, 0, 0, 0, 0, 1].repeat(2_000);
    ends(&Attack::flood(&|_| frame(SETTINGS, 0, 0, &many)), "settings_entries", "settings");
}

#[test]
fn windows_moved_to_and_fro_by_settings() {
    // Every change of SETTINGS_INITIAL_WINDOW_SIZE touches every open stream.
    let open: Vec<u8> = (0..100).flat_map(|n| request(2 * n + 1, "GET", "/delay/30", true)).collect();
    let window = |n: usize| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, (n % 200) as u8, 1]);
    ends(&Attack { settings: &[], first: open, flood: &window }, "settings", "settings");
}

#[test]
fn window_update_flood() {
    let flood = |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    ends(&Attack::flood(&flood), "window_updates", "window_update");
}

#[test]
fn priority_churn_cve_2019_9513() {
    let flood = |n: usize| frame(2, 0, 1 + 2 * (n as u32 % 100), &[0, 0, 0, 0, n as u8]);
    ends(&Attack::flood(&flood), "priorities", "priority");
}

#[test]
fn priority_update_churn() {
    let flood = |n: usize| {
        let stream = 1 + 2 * (n as u32 % 100);
        frame(0x10, 0, 0, &[&stream.to_be_bytes()[..], b"u=1"].concat())
    };
    ends(&Attack::flood(&flood), "priorities", "priority");
}

#[test]
fn frames_of_types_that_nobody_knows() {
    let octets = vec![7; 1_000];
    ends(&Attack::flood(&|n| frame(0xa0 + (n % 64) as u8, 0, 0, &octets)), "unknown_bytes", "unknown_frames");
}

#[test]
fn goaway_again_and_again() {
    // The first one begins the way down; what goes on is not listened to for long.
    let gateway = Gateway::start();
    run(async {
        for speaks in [Speaks::H2c, Speaks::H2] {
            let flood = |_| frame(7, 0, 0, &[&[0; 8][..], &[b'x'; 1_000]].concat());
            let ending = meet(&gateway, speaks, &Attack::flood(&flood)).await;
            let code = ending.goaway.map(|(code, _)| code);
            assert!(matches!(code, Some(0 | CALM)), "{code:?}");
        }
    });
}
