//! A server of the library whose every request goes on to one upstream.
//!
//! Invariant: each front has metrics of its own, so nothing of one test is counted in another's scrape.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use stagedoor::config::{
    Balance, Endpoint, EndpointAddress, Endpoints, Keepalive, Retry, RetryOn, Upstream as Config,
    UpstreamLimits, UpstreamProtocol, UpstreamTimeouts, UpstreamTls,
};
use stagedoor::proxy::Proxy;
use stagedoor::upstream::{Upstream, Upstreams};
use stagedoor::{ListenerConfig, Metrics, Reply, Request, Response, ServerBuilder, Service};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::client::Client;
use crate::support::exposition::Scrape;

/// Longer than any test: a deadline that is not what the test is about.
pub(crate) const LONG: Duration = Duration::from_secs(50);

/// See the module.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Arc<Upstream>,
    metrics: Metrics,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Sends everything on; a fault is told with its cause in `x-cause`.
struct Onward(Arc<Upstream>);

impl Service for Onward {
    fn call(&self, request: Request) -> Reply {
        let upstream = Arc::clone(&self.0);
        Reply::later(async move {
            match Proxy::here().exchange(request, &upstream).await {
                Ok(response) => response,
                Err(fault) => {
                    let mut response = Response::new(fault.status);
                    response.fields.push("x-cause", fault.cause);
                    response
                }
            }
        })
    }
}

impl Front {
    /// One worker, with the defaults of a cleartext listener.
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, 1, &[], |_| ())
    }

    /// The same with some workers, name servers and another listener.
    pub(crate) fn start_with(
        config: Config,
        workers: usize,
        servers: &[SocketAddr],
        change: impl FnOnce(&mut ListenerConfig),
    ) -> Self {
        let mut listener = ListenerConfig::new("front", (Ipv4Addr::LOCALHOST, 0).into());
        change(&mut listener);
        let servers = servers.to_vec();
        let metrics = Metrics::new("stagedoor");
        let counted = metrics.clone();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let upstreams = Upstreams::new(&[config], &counted, None).unwrap();
                upstreams.start(&servers).unwrap();
                let upstream = Arc::clone(&upstreams.0[0]);
                let onward = Arc::clone(&upstream);
                let factory = Arc::new(move || Rc::new(Onward(Arc::clone(&onward))) as Rc<dyn Service>);
                let server = ServerBuilder::new(counted, workers)
                    .listen(listener, factory, false)
                    .start()
                    .await
                    .unwrap();
                tell.send((server.address("front").unwrap(), upstream)).unwrap();
                let _ = stopped.await;
                server.drain(Duration::ZERO).await;
                server.stop().await;
            });
        });
        let (address, upstream) = told.recv().expect("it starts");
        Self { address, upstream, metrics, stop: Some(stop), thread: Some(thread) }
    }

    /// A client of hyper's: h2c or HTTP/1.1.
    pub(crate) async fn client(&self, http2: bool) -> Client {
        Client::plain(self.address, http2).await
    }

    /// What a scraper sees now.
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape::read(&String::from_utf8(self.metrics.render_text()).unwrap())
    }

    /// Waits until series of upstreams add up to what is wanted; the test's deadline ends it otherwise.
    pub(crate) async fn until(&self, family: &str, labels: &[(&str, &str)], wanted: f64) {
        let name = format!("stagedoor_upstream_{family}");
        let mut seen = f64::NAN;
        let met = async {
            loop {
                seen = self.scrape().sum(&name, labels);
                if seen == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let met = tokio::time::timeout(Duration::from_secs(10), met).await;
        assert!(met.is_ok(), "{name}{labels:?} is {seen}, not {wanted}");
    }

    /// What was counted of upstreams.
    pub(crate) fn counted(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.scrape().sum(&format!("stagedoor_upstream_{family}"), labels)
    }

    /// Waits until nothing is under way any more.
    pub(crate) async fn at_rest(&self) {
        self.until("requests_active", &[], 0.0).await;
        self.until("requests_pending", &[], 0.0).await;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let alive = self.thread.take().is_some_and(|thread| !thread.is_finished());
        // It ends by itself: clients whose sockets linger are driven by the thread that would wait for it here.
        drop(self.stop.take());
        assert!(alive || std::thread::panicking(), "the front panicked");
    }
}

/// A listener on a free port, and where it is.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An upstream with nothing on that need not be: no checks, no ejection, no retries, deadlines that are never met.
pub(crate) fn upstream(protocol: UpstreamProtocol, at: &[SocketAddr]) -> Config {
    let listed = at.iter().map(|address| Endpoint {
        tls: false,
        address: EndpointAddress::Tcp { host: address.ip().to_string(), port: address.port() },
        weight: 1,
    });
    Config {
        name: "api".to_owned(),
        endpoints: Endpoints::Listed(listed.collect()),
        protocol,
        balance: Balance::RoundRobin,
        health: None,
        eject: None,
        retry: Retry { attempts: 2, on: RetryOn::default(), budget: 0.2, per_try: None },
        timeouts: UpstreamTimeouts { connect: LONG, response: LONG, stall: LONG },
        keepalive: Keepalive { ping: Duration::ZERO, timeout: LONG, idle: LONG },
        tls: UpstreamTls::default(),
        limits: UpstreamLimits { connections: 64, pending: 64 },
    }
}

/// One that speaks HTTP/1.1.
pub(crate) fn http1(at: &[SocketAddr]) -> Config {
    upstream(UpstreamProtocol::Http1, at)
}

/// One that speaks HTTP/2 in cleartext.
pub(crate) fn h2c(at: &[SocketAddr]) -> Config {
    upstream(UpstreamProtocol::H2c, at)
}
