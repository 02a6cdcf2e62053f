//! A server of the library with an admin listener, inside the test's process.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use http_body_util::BodyExt as _;
use stagedoor::admin::{Admin, Operations};
use stagedoor::{
    Lifecycle, ListenerConfig, Metrics, Reply, Request, ServerBuilder, ServerHandle, ServerSlot, Service,
    Stage,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

struct Answers<F>(F);

impl<F: Fn(Request) -> Reply + 'static> Service for Answers<F> {
    fn call(&self, request: Request) -> Reply {
        (self.0)(request)
    }
}

/// One public listener on one worker, and an admin listener. Ends when it is dropped.
pub(crate) struct Server {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) handle: ServerHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one that answers by `answer`.
    pub(crate) fn start(answer: impl Fn(Request) -> Reply + Clone + Send + Sync + 'static) -> Self {
        Self::start_with(None, answer)
    }

    /// The same, whose admin service tells what `operations` know.
    pub(crate) fn start_with(
        operations: Option<Arc<dyn Operations>>,
        answer: impl Fn(Request) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let metrics = Metrics::new("stagedoor");
                let (lifecycle, slot) = (Lifecycle::new(metrics.clone()), ServerSlot::default());
                let local = |name: &str| {
                    let mut config = ListenerConfig::new(name, (Ipv4Addr::LOCALHOST, 0).into());
                    config.limits.sessions_per_address = None;
                    config
                };
                let mut admin =
                    Admin::new(metrics.clone(), lifecycle.clone(), slot.clone(), Ipv4Addr::LOCALHOST.into());
                if let Some(operations) = operations {
                    admin = admin.with_operations(operations);
                }
                let factory = Arc::new(move || Rc::new(Answers(answer.clone())) as Rc<dyn Service>);
                let server = ServerBuilder::new(metrics.clone(), 1)
                    .listen(local("public"), factory, false)
                    .listen(local("admin"), admin.factory(), true)
                    .start()
                    .await
                    .unwrap();
                slot.set(server.clone()).ok();
                lifecycle.advance(Stage::Ready);
                tell.send((server.clone(), metrics)).unwrap();
                let _ = stopped.await;
                server.stop().await;
            });
        });
        let (handle, metrics) = told.recv().expect("it starts");
        let of = |name: &str| handle.address(name).expect("it listens");
        Self {
            public: of("public"),
            admin: of("admin"),
            metrics,
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Asks the admin listener; status and body.
    pub(crate) async fn ask(&self, method: &str, target: &str) -> (u16, String) {
        let io = hyper_util::rt::TokioIo::new(TcpStream::connect(self.admin).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request =
            hyper::Request::builder().method(method).uri(target).header("host", self.admin.to_string());
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// An HTTP/2 session that has said hello and heard the server's.
    pub(crate) async fn session(&self) -> TcpStream {
        let mut io = TcpStream::connect(self.public).await.unwrap();
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut hello = [0; 9];
        io.read_exact(&mut hello).await.unwrap();
        io
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
