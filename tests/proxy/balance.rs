//! Who is asked: turns, hashes, endpoints that fail their checks, that are ejected, that come back; and that metrics say
//! what happened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stagedoor::config::{Balance, Eject, HashKey, Health, Upstream as Config};
use stagedoor::upstream::EndpointState;

use crate::front::{Front, http1, listener};
use crate::support::client::nothing;
use crate::support::nobody::nobody;
use crate::support::run;
use crate::text::Text;

/// A server that says who it is, how often it was asked, and that can be made to fail.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    checked: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl Server {
    async fn start() -> Self {
        let (listener, address) = listener().await;
        let server =
            Self { address, asked: Arc::default(), checked: Arc::default(), failing: Arc::default() };
        let counts = (Arc::clone(&server.asked), Arc::clone(&server.checked), Arc::clone(&server.failing));
        tokio::spawn(async move {
            loop {
                let mut connection = Text::accept(&listener).await;
                let (asked, checked, failing) = counts.clone();
                tokio::spawn(async move {
                    while let Some(head) = connection.next_head().await {
                        let count = if head.starts_with("GET /healthz ") { &checked } else { &asked };
                        count.fetch_add(1, Ordering::Relaxed);
                        let status = if failing.load(Ordering::Relaxed) { "500 No" } else { "200 OK" };
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                        connection.say(&answer).await;
                    }
                });
            }
        });
        server
    }

    fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The label of its metrics.
    fn endpoint(&self) -> String {
        format!("api/{}", self.address)
    }

    /// Waits until a number of checks more came.
    async fn checks(&self, more: usize) {
        let wanted = self.checked.load(Ordering::Relaxed) + more;
        while self.checked.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn three() -> [Server; 3] {
    [Server::start().await, Server::start().await, Server::start().await]
}

fn at(servers: &[Server]) -> Config {
    http1(&servers.iter().map(|server| server.address).collect::<Vec<_>>())
}

fn ejecting(mut config: Config, max_share: f64) -> Config {
    config.eject = Some(Eject { consecutive_failures: 2, time: Duration::from_millis(400), max_share });
    config
}

fn checking(mut config: Config) -> Config {
    config.health = Some(Health {
        path: "/healthz".to_owned(),
        host: None,
        every: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        rise: 3,
        fall: 2,
    });
    config
}

async fn ask(front: &Front, times: usize) {
    let mut client = front.client(true).await;
    for _ in 0..times {
        client.get("/").await;
    }
}

#[test]
fn each_has_its_turn_and_metrics_say_so() {
    run(async {
        let servers = three().await;
        let front = Front::start(at(&servers));
        ask(&front, 30).await;
        for server in &servers {
            assert_eq!(server.asked(), 10);
            assert_eq!(front.counted("endpoint_up", &[("endpoint", &server.endpoint())]), 1.0);
        }
        front.at_rest().await;
        let scrape = front.scrape();
        let of =
            |name: &str, labels: &[(&str, &str)]| scrape.sum(&format!("stagedoor_upstream_{name}"), labels);
        assert_eq!(of("requests_total", &[("upstream", "api"), ("code", "200")]), 30.0);
        assert_eq!(of("request_duration_seconds_count", &[("upstream", "api")]), 30.0);
        assert_eq!(of("connections_active", &[("upstream", "api"), ("protocol", "http/1.1")]), 3.0);
        assert_eq!(of("connect_duration_seconds_count", &[("upstream", "api")]), 3.0);
        for none in ["retries_total", "failures_total", "ejections_total", "connections_closed_total"] {
            assert_eq!(of(none, &[]), 0.0, "{none}");
        }
    });
}

#[test]
fn the_same_key_meets_the_same_server() {
    run(async {
        let servers = three().await;
        let mut config = at(&servers);
        config.balance = Balance::Hash(HashKey::Header("x-user".to_owned()));
        let front = Front::start(config);
        let mut client = front.client(true).await;
        for user in 0..12 {
            let before: Vec<_> = servers.iter().map(Server::asked).collect();
            for _ in 0..4 {
                let request = client.request("GET", "/").header("x-user", user).body(nothing()).unwrap();
                assert_eq!(client.whole(request).await.unwrap().status, 200);
            }
            let mut more: Vec<_> =
                servers.iter().zip(&before).map(|(server, before)| server.asked() - before).collect();
            more.sort_unstable();
            assert_eq!(more, [0, 0, 4], "user {user}");
        }
        assert!(servers.iter().filter(|server| server.asked() > 0).count() >= 2, "not all at one");
    });
}

#[test]
fn a_server_is_out_after_so_many_bad_checks_and_back_after_so_many_good_ones() {
    run(async {
        let servers = three().await;
        let front = Front::start(checking(at(&servers)));
        let label = servers[1].endpoint();
        let state = || front.upstream.endpoints()[1].state();
        servers[1].checks(2).await;
        assert_eq!(state(), EndpointState::Healthy);
        servers[1].fail(true);
        front.until("endpoint_up", &[("endpoint", &label)], 0.0).await;
        assert_eq!(state(), EndpointState::Unhealthy);
        assert!(front.counted("health_checks_total", &[("endpoint", &label), ("result", "failed")]) >= 2.0);
        let check = front.upstream.endpoints()[1].last_check().unwrap();
        assert_eq!((check.ok, &*check.detail), (false, "status 500"));
        let before = servers[1].asked();
        ask(&front, 9).await;
        assert_eq!(servers[1].asked(), before, "nothing is asked of it");
        servers[1].fail(false);
        front.until("endpoint_up", &[("endpoint", &label)], 1.0).await;
        assert!(front.counted("health_checks_total", &[("endpoint", &label), ("result", "ok")]) >= 3.0);
        ask(&front, 9).await;
        assert_eq!(servers[1].asked(), before + 3);
    });
}

#[test]
fn a_server_that_flaps_neither_goes_nor_comes() {
    run(async {
        // Every second check fails: never two bad ones in a row.
        let (listener, address) = listener().await;
        let other = Server::start().await;
        let front = Front::start(checking(http1(&[address, other.address])));
        let state = || front.upstream.endpoints()[0].state();
        let check = async |status: &str| {
            let mut upstream = Text::accept(&listener).await;
            let head = upstream.answer(&format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")).await;
            assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
            // The next check comes when this one is judged.
            upstream.rest().await;
        };
        for _ in 0..3 {
            check("500").await;
            check("200").await;
            assert_eq!(state(), EndpointState::Healthy);
        }
        check("500").await;
        check("500").await;
        // Out now; two good ones in a row do not bring it back.
        for _ in 0..3 {
            check("200").await;
            check("200").await;
            check("500").await;
        }
        assert_eq!(state(), EndpointState::Unhealthy);
        for _ in 0..3 {
            check("204").await;
        }
        check("200").await;
        assert_eq!(state(), EndpointState::Healthy);
    });
}

#[test]
fn where_every_server_fails_its_checks_all_are_asked() {
    run(async {
        let servers = three().await;
        for server in &servers {
            server.fail(true);
        }
        let front = Front::start(checking(at(&servers)));
        front.until("endpoint_up", &[], 0.0).await;
        ask(&front, 6).await;
        assert!(servers.iter().all(|server| server.asked() == 2), "better a try than a certain error");
    });
}

#[test]
fn a_server_that_fails_in_a_row_is_left_alone_for_a_while() {
    run(async {
        let servers = three().await;
        let front = Front::start(ejecting(at(&servers), 0.5));
        servers[0].fail(true);
        let label = servers[0].endpoint();
        ask(&front, 6).await;
        assert_eq!(servers[0].asked(), 2);
        front.until("endpoint_up", &[("endpoint", &label)], 0.0).await;
        assert_eq!(front.counted("ejections_total", &[("reason", "consecutive_5xx")]), 1.0);
        servers[0].fail(false);
        let endpoint = &front.upstream.endpoints()[0];
        assert!(endpoint.ejected_for().is_some() || endpoint.state() == EndpointState::Healthy);
        front.until("endpoint_up", &[("endpoint", &label)], 1.0).await;
        ask(&front, 3).await;
        assert_eq!(servers[0].asked(), 3, "it is back");
    });
}

#[test]
fn no_more_than_a_share_is_ejected_and_never_the_only_one() {
    run(async {
        let servers = three().await;
        let mut config = ejecting(at(&servers), 0.5);
        config.eject.as_mut().unwrap().time = Duration::from_secs(50);
        let front = Front::start(config);
        for server in &servers {
            server.fail(true);
        }
        ask(&front, 30).await;
        front.until("endpoint_up", &[], 2.0).await;
        assert_eq!(front.counted("ejections_total", &[]), 1.0, "half of three is one");
    });
    run(async {
        let only = Server::start().await;
        let front = Front::start(ejecting(http1(&[only.address]), 1.0));
        only.fail(true);
        ask(&front, 10).await;
        assert_eq!((only.asked(), front.counted("ejections_total", &[])), (10, 0.0));
        assert_eq!(front.upstream.endpoints()[0].state(), EndpointState::Healthy);
    });
}

#[test]
fn who_refuses_connections_is_ejected_for_that() {
    run(async {
        let well = Server::start().await;
        let mut config = ejecting(http1(&[nobody(), well.address]), 0.5);
        config.eject.as_mut().unwrap().time = Duration::from_secs(50);
        config.retry.on.connect = true;
        let front = Front::start(config);
        ask(&front, 10).await;
        assert_eq!(well.asked(), 10);
        assert_eq!(front.counted("ejections_total", &[("reason", "consecutive_connect_errors")]), 1.0);
        assert_eq!(front.counted("failures_total", &[("reason", "connection_refused")]), 2.0);
    });
}

#[test]
fn a_success_between_forgives() {
    run(async {
        let servers = three().await;
        let front = Front::start(ejecting(at(&servers), 1.0));
        for _ in 0..3 {
            servers[0].fail(true);
            ask(&front, 3).await;
            servers[0].fail(false);
            ask(&front, 3).await;
        }
        assert_eq!(front.counted("ejections_total", &[]), 0.0);
        assert_eq!(front.upstream.endpoints()[0].consecutive_failures(), 0);
    });
}
