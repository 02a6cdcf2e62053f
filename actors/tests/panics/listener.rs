//! In a listener: it is restarted with the same sockets and the same books.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stagedoor_actors::{ListenerConfig, ServerBuilder};
use stagedoor_metrics::{ActorKind, ConnectionResult, Metrics};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{config, hello, run};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// One exchange; false where the connection ends first.
async fn served(client: &mut TcpStream) -> bool {
    let mut all = Vec::new();
    if client.write_all(GET).await.is_err() {
        return false;
    }
    while !all.ends_with(b"hello, world\n") {
        match client.read_buf(&mut all).await {
            Ok(count) if count > 0 => {}
            _ => return false,
        }
    }
    true
}

#[test]
fn in_the_accept_loop_it_is_the_loss_of_one_connection() {
    run(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let mut listener: ListenerConfig = config();
        listener.limits.sessions = 3;
        let metrics = Metrics::new("stagedoor");
        let server = ServerBuilder::new(metrics.clone(), 1)
            .accept_fault(move || {
                assert!(counted.fetch_add(1, Ordering::SeqCst) != 2, "the third, on purpose");
                Ok(())
            })
            .listen(listener, Arc::new(|| hello() as Rc<_>), false)
            .start()
            .await
            .unwrap();
        let address = server.addresses()[0].1.tcp().unwrap();
        let connect = async || TcpStream::connect(address).await.unwrap();
        let [mut first, mut second] = [connect().await, connect().await];
        assert!(served(&mut first).await && served(&mut second).await);
        let mut lost = connect().await;
        while metrics.shard(u16::MAX).actors()[ActorKind::Listener].panics.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Nobody accepts now: the connection waits in the socket, and those that are open go on.
        let mut queued = connect().await;
        assert!(served(&mut first).await && served(&mut second).await, "sessions live on");
        assert!(served(&mut queued).await, "by the successor");
        assert!(!served(&mut lost).await, "the one that was being accepted");
        // It knows of the sessions its predecessor let in.
        let mut too_many = connect().await;
        assert!(!served(&mut too_many).await, "three are the limit");
        let cells = metrics.shard(u16::MAX).listener(metrics.add_listener(&config().name, "-"));
        assert_eq!(cells.connections[ConnectionResult::RefusedLimit].get(), 1);
        drop(second);
        while metrics.live().len() > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(served(&mut connect().await).await, "there is room again");
        let shard = metrics.shard(u16::MAX);
        let counts = &shard.actors()[ActorKind::Listener];
        assert_eq!((counts.restarts.get(), counts.panics.get(), counts.alive.get()), (1, 1, 1));
        server.stop().await;
        assert_eq!(counts.alive.get(), 0);
    });
}
