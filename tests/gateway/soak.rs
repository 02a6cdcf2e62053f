//! The short form of the leak soak (docs/performance.md): every kind of client over TLS and in cleartext, all at once,
//! and then nothing of them is left. `benches/soak` does the same for minutes.

use std::time::{Duration, Instant};

use stagedoor_bench::soak::{self, Extent, Kind, Plan, Target};

use crate::support::{Gateway, run};

#[test]
fn nothing_is_left_of_clients_of_every_kind() {
    let gateway = Gateway::start_with(&["--log", "off"]);
    let target = Target::new(gateway.plain, gateway.public, gateway.admin, gateway.authority())
        .expect("a certificate");
    let plan = Plan {
        seed: 1,
        clients: 16,
        warm_up: Extent::Turns(1),
        load: Extent::Turns(2),
        hold: Duration::from_millis(200),
        // One turn is no warm-up for pools and caches: memory is what the long form is for. This finds the large ones.
        allowance: 32 << 20,
    };
    run(async {
        let report = soak::run(&target, &plan).await.unwrap();
        assert_eq!(report.failures(), Vec::<String>::new(), "{}", report.table());
        assert_eq!(report.visits, 6 * Kind::all().len() as u64);
        let peak = |what: &str| report.rows.iter().find(|row| row.what == what).map_or(0.0, |row| row.peak);
        assert!(peak("stagedoor_actors{actor=\"session\"}") > 2.0, "they were there: {}", report.table());

        let terminated = Instant::now();
        soak::drain(&target, || gateway.terminate()).await.unwrap();
        // Nothing in it waits for the deadline of the drain, which is 30 s.
        assert!(terminated.elapsed() < Duration::from_secs(20), "{:?}", terminated.elapsed());
    });
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("drained in "), "{stderr}");
}
