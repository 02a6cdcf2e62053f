//! Endpoints out of DNS, against a name server of the test's own: they follow its answers, and those that stay keep what
//! is known of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stagedoor::config::{Eject, Endpoints, Upstream as Config};
use stagedoor::upstream::EndpointState;
use tokio::net::{TcpListener, UdpSocket};

use crate::front::{Front, http1};
use crate::support::run;
use crate::text::{Text, ok};

const A: u16 = 1;
const SRV: u16 = 33;

/// What the server says of one type.
#[derive(Clone, Default)]
struct Zone {
    addresses: Vec<Ipv4Addr>,
    /// Priority, weight, port; all of target `a.test`.
    services: Vec<(u16, u16, u16)>,
    /// Says SERVFAIL.
    broken: bool,
}

/// A server whose zone may change at any time; every TTL is one second.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            zone: Arc::new(Mutex::new(zone)),
            asked: Arc::default(),
        };
        let (zone, asked) = (Arc::clone(&server.zone), Arc::clone(&server.asked));
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut question).await {
                let answer = answer(&question[..count], &zone.lock().unwrap());
                *asked.lock().unwrap() += 1;
                let _ = socket.send_to(&answer, from).await;
            }
        });
        server
    }

    fn say(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }

    /// Waits for so many more questions.
    async fn questions(&self, more: usize) {
        let wanted = *self.asked.lock().unwrap() + more;
        while *self.asked.lock().unwrap() < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An answer to a question (RFC 1035 §4.1): its name is repeated by reference.
fn answer(question: &[u8], zone: &Zone) -> Vec<u8> {
    let mut end = 12;
    while question[end] != 0 {
        end += usize::from(question[end]) + 1;
    }
    let kind = u16::from_be_bytes([question[end + 1], question[end + 2]]);
    let records: Vec<Vec<u8>> = match kind {
        _ if zone.broken => Vec::new(),
        A => zone.addresses.iter().map(|address| address.octets().to_vec()).collect(),
        SRV => {
            let data = |(priority, weight, port): &(u16, u16, u16)| {
                let mut data: Vec<u8> =
                    [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
                data.extend(b"\x01a\x04test\x00");
                data
            };
            zone.services.iter().map(data).collect()
        }
        _ => Vec::new(),
    };
    let code = if zone.broken { 2 } else { 0 };
    let mut answer = question[..2].to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1]);
    answer.extend((records.len() as u16).to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(&question[12..end + 5]);
    for data in records {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}

/// Addresses of endpoints, in the order of the resolver.
fn hosts(front: &Front) -> Vec<String> {
    front.upstream.endpoints().iter().map(|endpoint| endpoint.url.clone()).collect()
}

async fn until(front: &Front, wanted: &[String]) {
    let met = async {
        while hosts(front) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let met = tokio::time::timeout(Duration::from_secs(15), met).await;
    assert!(met.is_ok(), "{:?}, not {wanted:?}", hosts(front));
}

fn of(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, n)
}

fn named(endpoints: Endpoints) -> Config {
    Config { endpoints, ..http1(&[]) }
}

/// One port on several addresses of loopback.
async fn listen(count: u8) -> (Vec<TcpListener>, u16) {
    loop {
        let first = TcpListener::bind((of(1), 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut all = vec![first];
        for n in 2..=count {
            match TcpListener::bind((of(n), port)).await {
                Ok(listener) => all.push(listener),
                Err(_) => break,
            }
        }
        if all.len() == usize::from(count) {
            return (all, port);
        }
    }
}

#[test]
fn endpoints_follow_a_name_and_those_that_stay_keep_their_state() {
    run(async {
        let (listeners, port) = listen(3).await;
        let server = Server::start(Zone { addresses: vec![of(1), of(2)], ..Zone::default() }).await;
        let mut config = named(Endpoints::Dns { tls: false, host: "a.test".to_owned(), port });
        config.eject = Some(Eject { consecutive_failures: 1, time: Duration::from_secs(50), max_share: 0.5 });
        let front = Front::start_with(config, 1, &[server.address], |_| ());
        let url = |n: u8| format!("http://127.0.0.{n}:{port}");
        until(&front, &[url(1), url(2)]).await;
        // The first fails and is left alone; the second has a connection.
        let mut client = front.client(true).await;
        let fail = async {
            Text::accept(&listeners[0]).await.answer("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n").await
        };
        let well = async {
            let mut upstream = Text::accept(&listeners[1]).await;
            upstream.answer(&ok("")).await;
            upstream
        };
        let both = async { (client.get("/").await, client.get("/").await) };
        let (_, mut second, _) = tokio::join!(fail, well, both);
        let before = front.upstream.endpoints();
        assert_eq!(before[0].state(), EndpointState::Ejected);
        // The third comes, nobody goes.
        server.say(|zone| zone.addresses = vec![of(3), of(1), of(2)]);
        until(&front, &[url(1), url(2), url(3)]).await;
        let after = front.upstream.endpoints();
        assert!(Arc::ptr_eq(&before[0], &after[0]) && Arc::ptr_eq(&before[1], &after[1]));
        assert_eq!(after[0].state(), EndpointState::Ejected, "it is not forgiven by a name");
        // The second goes: its idle connection is closed.
        server.say(|zone| zone.addresses = vec![of(1), of(3)]);
        until(&front, &[url(1), url(3)]).await;
        assert_eq!(before[1].state(), EndpointState::Draining);
        assert_eq!(second.next_head().await, None);
        let (answer, _) = tokio::join!(client.get("/"), async {
            Text::accept(&listeners[2]).await.answer(&ok("third")).await
        });
        assert_eq!(answer.text(), "third");
    });
}

#[test]
fn an_answer_that_fails_leaves_endpoints_as_they_are() {
    run(async {
        let server = Server::start(Zone { addresses: vec![of(1)], ..Zone::default() }).await;
        let config = named(Endpoints::Dns { tls: false, host: "a.test".to_owned(), port: 80 });
        let front = Front::start_with(config, 1, &[server.address], |_| ());
        until(&front, &["http://127.0.0.1:80".to_owned()]).await;
        server.say(|zone| zone.broken = true);
        server.questions(2).await;
        assert_eq!(hosts(&front), ["http://127.0.0.1:80"]);
        server.say(|zone| (zone.broken, zone.addresses) = (false, vec![of(2)]));
        until(&front, &["http://127.0.0.2:80".to_owned()]).await;
    });
}

#[test]
fn targets_of_a_service_bring_their_ports_and_weights() {
    run(async {
        let services = vec![(10, 3, 8001), (10, 1, 8002), (20, 1, 8003)];
        let server = Server::start(Zone { addresses: vec![of(1)], services, broken: false }).await;
        let config = named(Endpoints::Srv { tls: false, name: "_api._tcp.test".to_owned() });
        let front = Front::start_with(config, 1, &[server.address], |_| ());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        until(&front, &[url(8001), url(8002)]).await;
        let weights: Vec<_> = front.upstream.endpoints().iter().map(|endpoint| endpoint.weight).collect();
        assert_eq!(weights, [3, 1]);
        // Those of lower priority are for when the others are gone.
        server.say(|zone| zone.services = vec![(20, 1, 8003)]);
        until(&front, &[url(8003)]).await;
    });
}

#[test]
fn a_name_without_an_address_is_503() {
    run(async {
        let server = Server::start(Zone::default()).await;
        let config = named(Endpoints::Dns { tls: false, host: "a.test".to_owned(), port: 80 });
        let front = Front::start_with(config, 1, &[server.address], |_| ());
        let answer = front.client(true).await.get("/").await;
        assert_eq!((answer.status, answer.header("x-cause")), (503, "destination_unavailable"));
        assert_eq!(front.counted("failures_total", &[("reason", "destination_unavailable")]), 1.0);
        front.at_rest().await;
    });
}
