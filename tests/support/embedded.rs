//! A server of the library inside the test's process, for what the binary's demo does not do.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use stagedoor::{ListenerConfig, Metrics, Reply, Request, ServerBuilder, Service};
use tokio::sync::oneshot;

/// One listener on a free port of 127.0.0.1, two workers. Ends when it is dropped.
pub(crate) struct Embedded {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Answers<F>(F);

impl<F: Fn(Request) -> Reply + 'static> Service for Answers<F> {
    fn call(&self, request: Request) -> Reply {
        (self.0)(request)
    }
}

impl Embedded {
    /// Starts one that answers by `answer`.
    pub(crate) fn start(
        change: impl FnOnce(&mut ListenerConfig),
        answer: impl Fn(Request) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let mut config = ListenerConfig::new("embedded", (Ipv4Addr::LOCALHOST, 0).into());
        change(&mut config);
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let factory = Arc::new(move || Rc::new(Answers(answer.clone())) as Rc<dyn Service>);
                let server = ServerBuilder::new(Metrics::new("embedded"), 2)
                    .listen(config, factory, false)
                    .start()
                    .await
                    .unwrap();
                tell.send(server.addresses()[0].1.tcp().unwrap()).unwrap();
                let _ = stopped.await;
                server.drain(Duration::ZERO).await;
                server.stop().await;
            });
        });
        let address = told.recv().expect("it starts");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the embedded server panicked");
        }
    }
}
