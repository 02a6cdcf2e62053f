use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use stagedoor_actors::client::{
    ClientSession, ClientStream, Connector, Options, RequestOptions, RequestParts, connect,
};
use stagedoor_actors::{Host, ListenerConfig};
use stagedoor_metrics::{Metrics, TableOptions};
use stagedoor_protocol::{ErrorCode, Fields, ResponseHead};

use super::*;
use crate::config::{self, *};
use crate::gateway::exchange::script;
use crate::gateway::{Hooks, Needs};
use crate::upstream::Upstreams;

/// A route of this name, path and action, and nothing else.
fn route(name: &str, path: &str, action: Action) -> config::Route {
    config::Route {
        name: name.to_owned(),
        matches: Match { path: (!path.is_empty()).then(|| path.to_owned()), ..Match::default() },
        strip_prefix: None,
        rewrite: None,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        rate_limit: None,
        max_body: None,
        timeout: None,
        access: Access::Open,
        compress: None,
        errors: Default::default(),
        connect: false,
        action,
    }
}

fn proxy(path: &str) -> config::Route {
    route("api", path, Action::Proxy(ProxyTo { upstream: 0, host: None }))
}

fn respond(name: &str, path: &str, body: &str) -> config::Route {
    let mut headers = Fields::new();
    headers.push("content-type", "text/plain");
    let body = Bytes::copy_from_slice(body.as_bytes());
    route(name, path, Action::Respond(Respond { status: 200, body, headers }))
}

fn config_of(routes: Vec<config::Route>) -> Config {
    Config {
        server: Server {
            workers: None,
            drain: Drain { min_accept: Duration::ZERO, timeout: Duration::ZERO },
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            dns_servers: Vec::new(),
        },
        admin: config::Admin { bind: None, token_file: None },
        log: Log { level: "info".to_owned(), access: None },
        tables: TableOptions::default(),
        listeners: Vec::new(),
        upstreams: Vec::new(),
        routes,
    }
}

fn upstreams() -> Upstreams {
    let zero = Duration::ZERO;
    let config = config::Upstream {
        name: "api".to_owned(),
        endpoints: Endpoints::Listed(Vec::new()),
        protocol: UpstreamProtocol::H2c,
        balance: Balance::P2c,
        health: None,
        eject: None,
        retry: Retry { attempts: 0, on: RetryOn::default(), budget: 0.0, per_try: None },
        timeouts: UpstreamTimeouts { connect: zero, response: zero, stall: zero },
        keepalive: Keepalive { ping: zero, timeout: zero, idle: zero },
        tls: UpstreamTls::default(),
        limits: UpstreamLimits { connections: 1, pending: 1 },
    };
    Upstreams::new(&[config], &Metrics::new("t"), None).unwrap()
}

fn site_of(config: &Config, metrics: &Metrics, hooks: Hooks, previous: Option<&Site>) -> Site {
    let upstreams = upstreams();
    let needs = Needs {
        metrics,
        server: Default::default(),
        upstreams: &upstreams,
        demo_files: None,
        hooks,
        previous,
    };
    Site::new(config, &needs).unwrap()
}

/// A gateway and what is told of it.
struct Stage {
    metrics: Metrics,
    site: Arc<ArcSwap<Site>>,
    host: Rc<Host>,
}

impl Stage {
    fn new(routes: Vec<config::Route>) -> Self {
        Self::with(routes, Hooks::default())
    }

    fn with(routes: Vec<config::Route>, hooks: Hooks) -> Self {
        let metrics = Metrics::new("stagedoor");
        let site = Arc::new(ArcSwap::from_pointee(site_of(&config_of(routes), &metrics, hooks, None)));
        let service = Gateway::factory(Arc::clone(&site), "test")();
        let config = ListenerConfig::new("test", ([127, 0, 0, 1], 0).into());
        let host = Host::new(&metrics, 0, config, service);
        Self { metrics, site, host }
    }

    fn reload(&self, routes: Vec<config::Route>) {
        let previous = self.site.load_full();
        let site = site_of(&config_of(routes), &self.metrics, Hooks::default(), Some(&previous));
        self.site.store(Arc::new(site));
    }

    /// A client at this address.
    fn client(&self, peer: &str) -> ClientSession {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        self.host.spawn_session(theirs, Some(SocketAddr::new(peer.parse().unwrap(), 1)));
        connect("http://a.example", Options::with_connector(Connector::over(ours))).unwrap()
    }

    async fn ask(&self, parts: RequestParts) -> Said {
        said(self.client("192.0.2.1").request(parts, RequestOptions::default()).unwrap()).await
    }
}

/// An answer.
#[derive(Debug)]
struct Said {
    status: u16,
    fields: Fields,
    text: String,
}

impl Said {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get_str(name)
    }
}

async fn said(mut stream: ClientStream) -> Said {
    let ResponseHead { status, fields } = stream.response().await.unwrap();
    let body = stream.into_body().collect_up_to(1 << 20).await.unwrap();
    Said { status, fields, text: String::from_utf8_lossy(&body).into_owned() }
}

fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
    });
}

/// An upstream that says what it was asked for.
fn mirror() {
    script::play(async |request: Request| {
        let head = &request.head;
        let authority = head.authority().unwrap_or_default();
        let mut text = format!("{} {authority} {}\n", head.method(), head.path().unwrap_or("-"));
        for field in head.fields().iter() {
            let name = String::from_utf8_lossy(field.name);
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(field.value)));
        }
        Ok(Response::text(text).with_field("server", "mirror"))
    });
}

#[test]
fn a_request_is_sent_on_and_its_answer_comes_back() {
    run(async {
        mirror();
        let mut api = proxy("/api/{*rest}");
        api.strip_prefix = Some("/api".to_owned());
        api.action = Action::Proxy(ProxyTo { upstream: 0, host: Some("inner:81".to_owned()) });
        api.request_headers.set.push("x-gateway", "stagedoor");
        api.request_headers.remove = vec!["x-debug".to_owned(), "x-real-ip".to_owned()];
        api.response_headers.remove = vec!["server".to_owned()];
        api.response_headers.add.push("x-frame-options", "DENY");
        let stage = Stage::new(vec![api]);
        let parts = RequestParts::get("/api/v1?q=1").with_field("x-debug", "1").with_field("x-kept", "2");
        let answer = stage.ask(parts).await;
        assert_eq!(answer.status, 200);
        let lines: Vec<_> = answer.text.lines().collect();
        assert_eq!(lines[0], "GET inner:81 /v1?q=1");
        for line in [
            "x-kept: 2",
            "x-gateway: stagedoor",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: a.example",
            "forwarded: for=192.0.2.1;host=\"a.example\";proto=http",
            "via: 2 stagedoor",
        ] {
            assert!(lines.contains(&line), "{line} is not in {lines:?}");
        }
        assert!(!answer.text.contains("x-debug") && !answer.text.contains("x-real-ip"), "{}", answer.text);
        let id = answer.field("x-request-id").unwrap();
        assert!(id.len() == 26 && lines.contains(&&*format!("x-request-id: {id}")));
        assert_eq!((answer.field("via"), answer.field("server")), (Some("2 stagedoor"), None));
        assert_eq!(answer.field("x-frame-options"), Some("DENY"));
    });
}

#[test]
fn a_path_is_rewritten_with_its_parameters() {
    run(async {
        mirror();
        let mut users = proxy("/users/{id}/{*rest}");
        users.rewrite = Some("/v2/{rest}?user={id}".to_owned());
        let stage = Stage::new(vec![users]);
        let answer = stage.ask(RequestParts::get("/users/%37/posts/1?q")).await;
        assert!(answer.text.starts_with("GET a.example /v2/posts/1?user=7&q\n"), "{}", answer.text);
    });
}

#[test]
fn a_path_that_slips_past_another_route_is_refused() {
    run(async {
        mirror();
        let stage = Stage::new(vec![
            proxy("/{*rest}"),
            respond("closed", "/admin/{*rest}", "closed"),
            respond("id", "/id/{id}", "id"),
        ]);
        for path in ["/admin/x", "/%61dmin/x", "/admin/../x"] {
            assert_eq!(stage.ask(RequestParts::get(path)).await.text, "closed", "{path}");
        }
        for path in [
            "/api/../admin",
            "/api/%2e%2e/admin/x",
            "//admin/x",
            "/api/..%2fadmin/x",
            "/%2fadmin/x",
            "/admin;x/y",
            "/admin%2fx",
            "/x/..;/admin/x",
            "/a%00",
            "/100%",
            "/.\\admin\\x",
            "/\\admin/x",
        ] {
            let answer = stage.ask(RequestParts::get(path)).await;
            assert_eq!(answer.status, 400, "{path} {}", answer.text);
        }
        for path in ["/a%2fb", "/a//b", "/x;v=1", "/.well-known/a", "/img/https://b.example/a.png"] {
            let answer = stage.ask(RequestParts::get(path)).await;
            assert!(
                answer.text.starts_with(&format!("GET a.example {path}\n")),
                "it goes on as it came: {path}"
            );
        }
    });
}

#[test]
fn what_no_route_takes_is_told_apart_and_counted_as_nobodys() {
    run(async {
        let mut get = respond("get", "/x", "x");
        get.matches.methods = vec!["GET".to_owned()];
        get.matches.hosts = vec!["a.example".to_owned()];
        let stage = Stage::new(vec![get.clone()]);
        assert_eq!(stage.ask(RequestParts::get("/y")).await.status, 404);
        let post = stage.ask(RequestParts::post("/x")).await;
        assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
        let other = RequestParts::get("/x").with_authority("b.example");
        assert_eq!(stage.ask(other).await.status, 421);
        let star = RequestParts::new("OPTIONS", "*");
        let star = stage.ask(star).await;
        assert_eq!((star.status, star.field("allow")), (204, Some(METHODS)));
        let tunnel = stage.ask(RequestParts::connect("b.example:443")).await;
        assert_eq!((tunnel.status, tunnel.field("allow")), (405, Some(METHODS)));
        let json = stage.ask(RequestParts::get("/y").with_field("accept", "application/json")).await;
        assert_eq!(json.field("content-type"), Some("application/problem+json"));
        let grpc = RequestParts::post("/y").with_field("content-type", "application/grpc");
        let grpc = stage.ask(grpc).await;
        assert_eq!((grpc.status, grpc.field("grpc-status")), (200, Some("12")));

        let gateway = Gateway::new(Arc::clone(&stage.site), "test".into());
        let head = |path| RequestHead::new("GET", "https", "a.example", path);
        assert_eq!(gateway.route_name(gateway.route(&head("/x"))), "get");
        assert_eq!(gateway.route(&head("/y")), RouteId::UNMATCHED);
        assert_eq!(gateway.route_name(RouteId::UNMATCHED), "_unmatched");
    });
}

#[test]
fn a_listener_serves_its_own_routes() {
    let metrics = Metrics::new("stagedoor");
    let mut plain = respond("plain", "/x", "plain");
    plain.matches.listeners = vec!["plain".to_owned()];
    let mut config = config_of(vec![respond("any", "/x", "any"), plain]);
    config.listeners = vec![listener("plain", None), listener("public", None)];
    let site = Arc::new(ArcSwap::from_pointee(site_of(&config, &metrics, Hooks::default(), None)));
    let head = RequestHead::new("GET", "https", "a.example", "/x");
    for (name, route) in [("plain", "plain"), ("public", "any"), ("unheard-of", "any")] {
        let gateway = Gateway::new(Arc::clone(&site), name.into());
        assert_eq!(gateway.route_name(gateway.route(&head)), route, "{name}");
    }
}

#[test]
fn a_connection_is_for_the_host_it_was_made_for() {
    let metrics = Metrics::new("stagedoor");
    let tls =
        |client_auth| Some(config::Tls { min_version: TlsMin::Tls12, client_auth, certificates: Vec::new() });
    let mut config = config_of(vec![respond("any", "/x", "any")]);
    let asked = ClientAuth::Optional { ca: "ca.pem".into() };
    config.listeners = vec![listener("strict", tls(asked)), listener("usual", tls(ClientAuth::None))];
    let covers: crate::gateway::Covers = Arc::new(|listener, sni, host| {
        assert_eq!((listener, sni), ("usual", "a.example"));
        host == "b.example"
    });
    let hooks = Hooks { covers: Some(covers), ..Hooks::default() };
    let site = Arc::new(site_of(&config, &metrics, hooks, None));
    let local = |name: &str| Local::new(Arc::clone(&site), &name.into());
    for authority in ["a.example", "A.example:8443", "a.example.", ""] {
        assert!(!local("strict").is_for_another("a.example", authority), "{authority}");
    }
    for authority in ["b.example", "a.example.org", "a.example@b", "[::1]"] {
        // What is no authority is refused elsewhere.
        let refused = authority != "a.example@b";
        assert_eq!(local("strict").is_for_another("a.example", authority), refused, "{authority}");
    }
    assert!(!local("usual").is_for_another("a.example", "b.example:1"));
    assert!(local("usual").is_for_another("a.example", "c.example"));
}

fn listener(name: &str, tls: Option<config::Tls>) -> config::Listener {
    config::Listener {
        name: name.to_owned(),
        bind: Vec::new(),
        http2: true,
        http1: true,
        proxy_protocol: ProxyProtocol::Off,
        reuse_port: false,
        tls,
        limits: Default::default(),
        windows: Default::default(),
        timeouts: Default::default(),
    }
}

#[test]
fn addresses_are_let_in_by_who_the_client_is() {
    run(async {
        let mut inside = respond("inside", "/in", "in");
        inside.access = Access::Allow(vec!["192.0.2.0/24".parse().unwrap()]);
        let mut outside = respond("outside", "/out", "out");
        outside.access = Access::Deny(vec!["192.0.2.0/24".parse().unwrap()]);
        let stage = Stage::new(vec![inside, outside]);
        for (peer, told, inside, outside) in [
            ("192.0.2.9", None, 200, 403),
            ("198.51.100.1", None, 403, 200),
            ("198.51.100.1", Some("192.0.2.9"), 403, 200),
            ("10.0.0.1", Some("192.0.2.9"), 200, 403),
            ("10.0.0.1", Some("192.0.2.9, 198.51.100.1"), 403, 200),
        ] {
            let client = stage.client(peer);
            for (path, status) in [("/in", inside), ("/out", outside)] {
                let mut parts = RequestParts::get(path);
                if let Some(told) = told {
                    parts = parts.with_field("x-forwarded-for", told);
                }
                let answer = said(client.request(parts, RequestOptions::default()).unwrap()).await;
                assert_eq!(answer.status, status, "{peer} {told:?} {path}");
            }
        }
    });
}

#[test]
fn too_many_requests_are_told_to_wait_and_a_reload_forgets_none() {
    run(async {
        let limit = |rate| {
            let mut limited = respond("limited", "/", "ok");
            limited.rate_limit = Some(RateLimit { per: RatePer::Header("x-key".to_owned()), rate, burst: 2 });
            vec![limited]
        };
        let counted: Arc<Mutex<Vec<RouteId>>> = Arc::default();
        let heard = Arc::clone(&counted);
        let limited: crate::gateway::Limited = Arc::new(move |route| heard.lock().unwrap().push(route));
        let stage = Stage::with(limit(0.001), Hooks { limited: Some(limited), ..Hooks::default() });
        let ask = async |key| stage.ask(RequestParts::get("/").with_field("x-key", key)).await;
        assert_eq!([ask("a").await.status, ask("a").await.status], [200, 200]);
        let wait = ask("a").await;
        assert_eq!(wait.status, 429);
        let after: u64 = wait.field("retry-after").unwrap().parse().unwrap();
        assert!((900..=1000).contains(&after), "{after}");
        assert_eq!(*counted.lock().unwrap(), [stage.metrics.add_route("limited")]);
        assert_eq!(ask("b").await.status, 200);
        stage.reload(limit(0.001));
        assert_eq!(ask("a").await.status, 429);
        stage.reload(limit(0.002));
        assert_eq!(ask("a").await.status, 200, "another limit counts anew");
    });
}

#[test]
fn a_body_is_no_larger_than_the_route_takes() {
    run(async {
        script::play(async |mut request: Request| {
            let mut octets = 0;
            while let Some(chunk) = request.body.chunk().await {
                octets += chunk.map_err(|error| Fault::new(502, "broken", error.to_string()))?.len();
            }
            Ok(Response::text(format!("{octets}")))
        });
        let mut api = proxy("/");
        api.max_body = Some(100);
        let stage = Stage::new(vec![api]);
        let client = stage.client("192.0.2.1");
        for (octets, declared, status) in
            [(100, true, 200), (101, true, 413), (100, false, 200), (101, false, 413)]
        {
            let mut parts = RequestParts::post("/");
            if declared {
                parts = parts.with_field("content-length", octets.to_string());
            }
            let options = RequestOptions { end_stream: Some(false), ..RequestOptions::default() };
            let mut stream = client.request(parts, options).unwrap();
            if !declared || status == 200 {
                stream.send_data(vec![0; octets / 2].into()).await.unwrap();
                // What comes too late for a refusal is not taken.
                stream.finish_with(vec![0; octets - octets / 2].into()).await.ok();
            }
            let answer = said(stream).await;
            assert_eq!(answer.status, status, "{octets} octets, declared: {declared}");
            assert_eq!(answer.field("proxy-status"), None);
        }
    });
}

#[test]
fn an_exchange_that_takes_too_long_is_given_up() {
    run(async {
        script::play(async |request: Request| match request.head.path() {
            Some("/never") => std::future::pending().await,
            _ => Ok(Response::new(200).with_body(Body::stream(request.body))),
        });
        let mut api = proxy("/{*rest}");
        api.timeout = Some(Duration::from_millis(50));
        let stage = Stage::new(vec![api]);
        let late = stage.ask(RequestParts::get("/never")).await;
        assert_eq!(late.status, 504);
        assert_eq!(late.field("proxy-status"), Some("stagedoor; error=http_response_timeout"));
        let client = stage.client("192.0.2.1");
        let options = RequestOptions { end_stream: Some(false), ..RequestOptions::default() };
        let mut echo = client.request(RequestParts::post("/echo"), options).unwrap();
        assert_eq!(echo.response().await.unwrap().status, 200);
        assert!(echo.chunk().await.unwrap().is_err(), "the head was out, so the stream is reset");
    });
}

#[test]
fn faults_of_upstreams_are_answered_with_their_cause() {
    run(async {
        script::play(async |request: Request| {
            let fault = Fault::new(502, "connection_refused", "no server answered");
            Err(Fault { reset: request.head.path() == Some("/reset"), ..fault })
        });
        let mut api = proxy("/{*rest}");
        let own = ErrorBody { content_type: "text/html".to_owned(), body: Bytes::from_static(b"<p>sorry") };
        api.errors = [(503, own.clone())].into();
        let stage = Stage::new(vec![api.clone()]);
        let answer = stage.ask(RequestParts::get("/x")).await;
        assert_eq!((answer.status, &*answer.text), (502, "no server answered\n"));
        assert_eq!(answer.field("proxy-status"), Some("stagedoor; error=connection_refused"));
        assert_eq!(answer.field("x-request-id").map(str::len), Some(26));
        let grpc = RequestParts::post("/x").with_field("content-type", "application/grpc");
        let grpc = stage.ask(grpc).await;
        assert_eq!(
            (grpc.field("grpc-status"), grpc.field("grpc-message")),
            (Some("14"), Some("no server answered"))
        );
        let mut reset = stage.client("192.0.2.1").request("/reset", RequestOptions::default()).unwrap();
        assert!(reset.response().await.is_err());
        assert_eq!(reset.code(), Some(ErrorCode::INTERNAL_ERROR));
        api.errors = [(502, own)].into();
        stage.reload(vec![api]);
        assert_eq!(stage.ask(RequestParts::get("/x")).await.text, "<p>sorry");
    });
}

#[test]
fn a_tunnel_is_opened_only_where_a_route_allows_it() {
    run(async {
        script::play(async |request: Request| {
            assert_eq!(request.head.authority(), Some("db.example:5432"));
            Err(Fault::new(503, "connection_limit_reached", "it was sent on"))
        });
        let mut tunnels = proxy("");
        tunnels.connect = true;
        tunnels.matches.hosts = vec!["db.example".to_owned()];
        let stage = Stage::new(vec![tunnels, respond("rest", "/{*rest}", "rest")]);
        assert_eq!(stage.ask(RequestParts::connect("db.example:5432")).await.text, "it was sent on\n");
        assert_eq!(stage.ask(RequestParts::connect("other.example:5432")).await.status, 405);
    });
}

#[test]
fn answers_of_other_actions() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("a.txt"), "file ".repeat(200)).unwrap();
        let from = FilesFrom {
            root: dir.path().to_owned(),
            index: vec!["a.txt".to_owned()],
            precompressed: Vec::new(),
            listing: false,
            cache_control: Some("max-age=5".to_owned()),
        };
        let mut files = route("files", "/assets/{*file}", Action::Files(from.clone()));
        files.strip_prefix = Some("/assets/".to_owned());
        files.compress =
            Some(Compress { encodings: vec![Coding::Gzip], min_bytes: 10, types: vec!["text/*".to_owned()] });
        files.response_headers.set.push("x-files", "1");
        let mut rewritten = route("one", "/one/{name}", Action::Files(from));
        rewritten.rewrite = Some("/{name}.txt".to_owned());
        let to = Redirect { scheme: Some("https".to_owned()), host: None, path: None, status: 308 };
        let mut demo = route("demo-site", "/demo/{*rest}", Action::Demo);
        demo.strip_prefix = Some("/demo".to_owned());
        let stage = Stage::new(vec![
            files,
            rewritten,
            demo,
            route("to-https", "/old/{*rest}", Action::Redirect(to)),
            respond("ok", "/ok", "ok\n"),
        ]);
        let file = stage.ask(RequestParts::get("/assets/a.txt")).await;
        assert_eq!((file.status, file.text.len()), (200, 1000));
        assert_eq!((file.field("cache-control"), file.field("x-files")), (Some("max-age=5"), Some("1")));
        let coded = RequestParts::get("/assets/").with_field("accept-encoding", "gzip");
        let coded = stage.ask(coded).await;
        assert_eq!((coded.status, coded.field("content-encoding")), (200, Some("gzip")));
        assert_eq!(coded.field("etag").map(|tag| tag.starts_with("W/")), Some(true));
        let slash = stage.ask(RequestParts::get("/assets/sub")).await;
        assert_eq!((slash.status, slash.field("location")), (301, Some("/assets/sub/")));
        assert_eq!(stage.ask(RequestParts::get("/assets/%2e%2e/a.txt")).await.status, 400);
        assert_eq!(stage.ask(RequestParts::get("/one/a")).await.text.len(), 1000);
        let old = stage.ask(RequestParts::get("/old/x?y").with_authority("a.example:8080")).await;
        assert_eq!((old.status, old.field("location")), (308, Some("https://a.example/old/x?y")));
        let ok = stage.ask(RequestParts::get("/ok")).await;
        assert_eq!((ok.status, &*ok.text, ok.field("content-type")), (200, "ok\n", Some("text/plain")));
        assert_eq!(stage.ask(RequestParts::get("/demo/bytes/5")).await.text.len(), 5);
    });
}

#[test]
fn a_reload_changes_new_requests_alone() {
    run(async {
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let wait = RefCell::new(Some(wait));
        script::play(move |_| {
            let wait = wait.borrow_mut().take();
            async move {
                if let Some(wait) = wait {
                    wait.await.ok();
                }
                Ok(Response::text("upstream"))
            }
        });
        let mut api = proxy("/");
        api.response_headers.set.push("x-site", "old");
        let stage = Stage::new(vec![api]);
        let client = stage.client("192.0.2.1");
        let old = client.request("/", RequestOptions::default()).unwrap();
        old.opened().await.unwrap();
        // Whatever the second says, the first has been sent on by then.
        assert_eq!(
            said(client.request("/", RequestOptions::default()).unwrap()).await.field("x-site"),
            Some("old")
        );
        stage.reload(vec![respond("new", "/", "new")]);
        assert_eq!(said(client.request("/", RequestOptions::default()).unwrap()).await.text, "new");
        release.send(()).unwrap();
        let old = said(old).await;
        assert_eq!((&*old.text, old.field("x-site")), ("upstream", Some("old")));
    });
}

#[test]
fn what_cannot_be_made_is_told() {
    let metrics = Metrics::new("stagedoor");
    let bad = |route: config::Route| {
        let upstreams = Upstreams::default();
        let needs = Needs {
            metrics: &metrics,
            server: Default::default(),
            upstreams: &upstreams,
            demo_files: None,
            hooks: Hooks::default(),
            previous: None,
        };
        Site::new(&config_of(vec![route]), &needs).unwrap_err().to_string()
    };
    assert_eq!(bad(respond("a", "x", "")), "the path of route a: a path begins with a slash");
    assert_eq!(bad(proxy("/")), "route api sends to an upstream that does not exist");
    let mut rewritten = respond("a", "/{id}", "");
    rewritten.rewrite = Some("/{x}".to_owned());
    assert_eq!(bad(rewritten), "route a cannot fill in /{x}: the path has no parameter x");
    let mut edited = respond("a", "/", "");
    edited.request_headers.set.push("host", "x");
    assert!(bad(edited).starts_with("route a edits the field host"));
    let from = FilesFrom {
        root: "/nowhere/at/all".into(),
        index: Vec::new(),
        precompressed: Vec::new(),
        listing: false,
        cache_control: None,
    };
    assert!(bad(route("a", "/", Action::Files(from))).starts_with("route a cannot open /nowhere/at/all: "));
}
