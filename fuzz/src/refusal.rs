//! First octets into a cleartext session that does not know yet what its peer speaks, in pieces of any size: HTTP/2,
//! HTTP/1.1 where that is switched on, else the short refusal, once. Whatever comes, the session ends once, nobody
//! panics, and nothing of it is left.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::SystemRunner;
use stagedoor_actors::{Host, ListenerConfig, Reply, Request, Response, Service};
use stagedoor_metrics::{ActorKind, ListenerCells, Metrics, Protocol, Shard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const REFUSAL: &[u8] = b"HTTP/1.0 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 27\r\n\
connection: close\r\n\r\nUnknown protocol, use h2.\r\n";

/// One input: an octet of options, one of details, then what the client says.
pub fn refusal(data: &[u8]) {
    let [options, detail, octets @ ..] = data else { return };
    // Part of the preface for nothing, so that a search finds its way into HTTP/2.
    let known = if options & 2 != 0 { usize::from(detail >> 3).min(PREFACE.len()) } else { 0 };
    let said = [&PREFACE[..known], octets].concat();
    let piece = match detail & 3 {
        0 => said.len().max(1),
        1 => 1,
        2 => 7,
        _ => 1_000,
    };
    let way = match options >> 2 & 3 {
        0 | 1 => Leaves::EndsItsSide,
        2 => Leaves::IsGone,
        _ => Leaves::Stays,
    };
    // A runtime outlives no destructor of its thread, so each thread keeps one for good.
    thread_local!(static STAND: &'static Stand = Box::leak(Box::new(Stand::new())));
    STAND.with(|stand| stand.check(&said, piece, way, options & 1 != 0));
}

/// What a client does when it has said all.
#[derive(Clone, Copy, PartialEq)]
enum Leaves {
    EndsItsSide,
    IsGone,
    /// A deadline ends it; where none is due, as for a body of no declared length, it goes after an hour.
    Stays,
}

/// Reads the body it is sent, then answers.
struct Hello;

impl Service for Hello {
    fn call(&self, request: Request) -> Reply {
        Reply::later(async move {
            let mut body = request.body;
            while let Some(Ok(_)) = body.chunk().await {}
            Response::text("hello, world\n")
        })
    }
}

/// A worker that serves with HTTP/1.1 and without it, on a clock that stands still until everybody waits.
struct Stand {
    system: SystemRunner,
    metrics: Metrics,
    shard: Arc<Shard>,
    /// Without HTTP/1.1, with it.
    hosts: [(Rc<Host>, Arc<ListenerCells>); 2],
}

impl Stand {
    fn new() -> Self {
        let system = actix_rt::System::new();
        let metrics = Metrics::new("stagedoor");
        let (shard, hosts) = system.block_on(async {
            tokio::time::pause();
            let host = |http1| {
                let mut config = ListenerConfig::new("fuzz", ([127, 0, 0, 1], 0).into());
                config.http1 = http1;
                let listener = metrics.add_listener(&config.name, "memory");
                let host = Host::new(&metrics, 0, config, Rc::new(Hello));
                (host, listener)
            };
            let hosts = [host(false), host(true)];
            let shard = metrics.shard(0);
            let hosts = hosts.map(|(host, listener)| (host, shard.listener(listener)));
            (shard, hosts)
        });
        Self { system, metrics, shard, hosts }
    }

    fn check(&self, said: &[u8], piece: usize, way: Leaves, http1: bool) {
        let (host, cells) = &self.hosts[usize::from(http1)];
        let before = (opened(cells), closed(cells));
        let answer = self.system.block_on(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            host.spawn_session(ours, None);
            let answer = talk(theirs, said, piece, way).await;
            let mut waited = 0;
            while !self.metrics.live().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                waited += 1;
                assert!(waited < 6_000, "the session outlives its client");
            }
            answer
        });
        assert_eq!(opened(cells) - before.0, 1);
        assert_eq!(closed(cells) - before.1, 1, "it ends once");
        for protocol in Protocol::ALL {
            assert_eq!(cells.streams_active[*protocol].get(), 0);
        }
        assert_eq!(cells.write_queue_bytes.get(), 0);
        for kind in [ActorKind::Session, ActorKind::Stream] {
            let actors = &self.shard.actors()[kind];
            assert_eq!((actors.alive.get(), actors.panics.get()), (0, 0), "{kind}");
        }
        if way == Leaves::IsGone {
            return;
        }
        if said.starts_with(PREFACE) {
            check_frames(&answer);
        } else if PREFACE.starts_with(said) {
            assert_eq!(answer, b"", "it may still become the preface");
        } else if http1 {
            check_http1(&answer);
        } else {
            assert_eq!(answer.escape_ascii().to_string(), REFUSAL.escape_ascii().to_string());
        }
    }
}

fn opened(cells: &ListenerCells) -> u64 {
    Protocol::ALL.iter().map(|protocol| cells.sessions_opened[*protocol].get()).sum()
}

fn closed(cells: &ListenerCells) -> u64 {
    let all = Protocol::ALL.iter().flat_map(|protocol| cells.sessions_closed[*protocol].iter());
    all.map(|(_, cell)| cell.get()).sum()
}

/// Says it piece by piece and reads all that is answered.
async fn talk(mut io: DuplexStream, said: &[u8], piece: usize, way: Leaves) -> Vec<u8> {
    for piece in said.chunks(piece) {
        // Who has heard enough need not read the rest.
        if io.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    match way {
        Leaves::EndsItsSide => drop(io.shutdown().await),
        Leaves::IsGone => return Vec::new(),
        Leaves::Stays => {}
    }
    let mut answer = Vec::new();
    let hour = Duration::from_secs(3_600);
    // An end is an end, whatever its kind.
    tokio::time::timeout(hour, io.read_to_end(&mut answer)).await.ok();
    answer
}

/// Whole frames, SETTINGS first.
fn check_frames(mut rest: &[u8]) {
    assert_eq!(rest.get(3), Some(&4), "SETTINGS come first: {}", rest.escape_ascii());
    while !rest.is_empty() {
        let length = match rest {
            [a, b, c, ..] => usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
            _ => panic!("half a frame head"),
        };
        assert!(length <= 16_384, "{length}");
        rest = rest.get(9 + length..).expect("whole frames");
    }
}

/// Nothing, or whole answers one behind the other.
fn check_http1(mut rest: &[u8]) {
    while !rest.is_empty() {
        let shown = rest.escape_ascii();
        let status = match rest {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', status @ ..] => status.get(..4),
            _ => None,
        };
        let is_status = |octets: &[u8]| octets[..3].iter().all(u8::is_ascii_digit) && octets[3] == b' ';
        assert!(status.is_some_and(is_status), "no status line: {shown}");
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, behind) = rest.split_at(end.unwrap_or_else(|| panic!("half a head: {shown}")) + 4);
        rest = behind;
        if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
            continue;
        }
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        rest = rest.get(length.unwrap_or_else(|| panic!("no length: {head}"))..).expect("a whole body");
    }
}
