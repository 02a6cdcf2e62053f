//! Bodies of telling sizes, both ways, under wide and narrow windows, octet by octet the same.

use bytes::Bytes;
use futures_util::future::join_all;
use stagedoor::demo::octet_at;

use crate::support::client::{Client, Speaks};
use crate::support::{Gateway, run, sha256};

/// Around the frame size, around the first window, and far more than any window.
const SIZES: [u64; 8] = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 10 << 20];

fn octets(count: u64) -> Bytes {
    (0..count).map(octet_at).collect()
}

async fn there_and_back(client: &mut Client, size: u64) {
    let body = octets(size);
    let given = client.get(&format!("/bytes/{size}")).await;
    assert!(given.body == body, "/bytes/{size}: {} octets came", given.body.len());
    let echoed = client.post("/echo", body.clone()).await;
    assert!(echoed.body == body, "/echo of {size}: {} octets came back", echoed.body.len());
    let digest = client.post("/sha256", body.clone()).await;
    assert_eq!(digest.text().trim_end(), sha256(&body), "/sha256 of {size}");
}

fn every_size_under(window: u32, speaks: Speaks) {
    let gateway = Gateway::start();
    run(async {
        let mut client = Client::connect_with(&gateway, speaks, window).await;
        for size in SIZES {
            there_and_back(&mut client, size).await;
        }
    });
}

#[test]
fn every_size_under_16_kib_on_h2() {
    every_size_under(16 << 10, Speaks::H2);
}

#[test]
fn every_size_under_1_mib_on_h2() {
    every_size_under(1 << 20, Speaks::H2);
}

#[test]
fn every_size_under_16_kib_on_h2c() {
    every_size_under(16 << 10, Speaks::H2c);
}

#[test]
fn every_size_under_1_mib_on_h2c() {
    every_size_under(1 << 20, Speaks::H2c);
}

#[test]
fn every_size_on_http1() {
    every_size_under(0, Speaks::Http1);
}

#[test]
fn every_size_on_http1_over_tls() {
    every_size_under(0, Speaks::Http1Tls);
}

#[test]
fn a_window_of_one_octet_is_enough() {
    let gateway = Gateway::start();
    for speaks in [Speaks::H2, Speaks::H2c] {
        run(async {
            let mut client = Client::connect_with(&gateway, speaks, 1).await;
            for size in [0, 1, 2, 16_383, 16_384, 16_385] {
                there_and_back(&mut client, size).await;
            }
        });
    }
}

#[test]
fn a_hundred_echoes_at_once_do_not_mix() {
    let gateway = Gateway::start();
    for speaks in Speaks::ALL {
        run(async {
            let first = Client::connect(&gateway, speaks).await;
            let echoes = (0..100_u32).map(|number| {
                let shared = speaks.is_http2().then(|| first.share());
                let gateway = &gateway;
                async move {
                    let mut client = match shared {
                        Some(client) => client,
                        None => Client::connect(gateway, speaks).await,
                    };
                    let body = Bytes::from(number.to_be_bytes().repeat(10_000));
                    let answer = client.post("/echo", body.clone()).await;
                    assert!(answer.status == 200 && answer.body == body, "echo {number} on {speaks:?}");
                }
            });
            join_all(echoes).await;
        });
    }
}
