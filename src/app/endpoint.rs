//! [`Endpoint`]: what answers on a route, one way for each method or one for all.
//!
//! Holds makers, not instances: each worker makes its own.

use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use stagedoor_actors::{Reply, Service, ServiceFactory};

use super::Call;
use super::handler::{Function, Handler};

/// What answers a request on its worker.
pub(crate) trait Answers {
    fn answer(&self, call: Call) -> Reply;
}

/// Makes a worker's own instance.
pub(crate) type Make = Arc<dyn Fn() -> Rc<dyn Answers> + Send + Sync>;

/// What answers on a route.
///
/// [`get`] and its siblings make one of a handler and take more methods by chaining; [`any`] takes every method;
/// [`on_stream`](super::on_stream), [`tower`](crate::tower()), [`files`](Endpoint::service) and
/// [`actor::mailbox`](crate::actor::mailbox) are the other ways to answer.
///
/// ```
/// use stagedoor::{App, get};
///
/// let items = get(async || "all of them\n").post(async |new: String| format!("one more: {new}\n"));
/// let app = App::new().route("/items", items);
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.post("/items", "tea").await.assert_text("one more: tea\n");
/// let refused = client.request(http::Request::delete("/items").body("").unwrap()).await;
/// refused.assert_status(405).assert_header("allow", "GET, POST, HEAD");
/// # });
/// ```
#[derive(Clone)]
#[must_use = "an endpoint answers nothing before a route has it"]
pub struct Endpoint {
    pub(super) methods: Vec<(Method, Make)>,
    pub(super) any: Option<Make>,
}

impl Endpoint {
    pub(crate) fn made(make: Make) -> Self {
        Self { methods: Vec::new(), any: Some(make) }
    }

    /// A [`Service`] of the engine, such as a directory of files.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use stagedoor::{App, Endpoint, RouteId, files::Directory};
    ///
    /// let directory = Directory::open("public")?.mount("/static");
    /// let app = App::new().mount("/static", Endpoint::service(directory.factory(RouteId::UNMATCHED, "static")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(factory: ServiceFactory) -> Self {
        struct Engine(Rc<dyn Service>);
        impl Answers for Engine {
            fn answer(&self, call: Call) -> Reply {
                self.0.call(call.request)
            }
        }
        Self::made(Arc::new(move || Rc::new(Engine(factory()))))
    }

    fn with<H, Args>(mut self, method: Method, handler: H) -> Self
    where
        H: Handler<Args> + Clone + Send + Sync,
        Args: 'static,
    {
        self.methods.push((method, make(handler)));
        self
    }

    /// Takes GET, and with it HEAD and extended CONNECT (RFC 8441 §5: what is a GET with an upgrade on HTTP/1.1), too.
    pub fn get<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(self, handler: H) -> Self {
        self.with(Method::GET, handler)
    }

    /// Takes POST, too.
    pub fn post<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(self, handler: H) -> Self {
        self.with(Method::POST, handler)
    }

    /// Takes PUT, too.
    pub fn put<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(self, handler: H) -> Self {
        self.with(Method::PUT, handler)
    }

    /// Takes PATCH, too.
    pub fn patch<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(self, handler: H) -> Self {
        self.with(Method::PATCH, handler)
    }

    /// Takes DELETE, too.
    pub fn delete<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(self, handler: H) -> Self {
        self.with(Method::DELETE, handler)
    }

    /// Takes every method that was not named.
    pub fn any<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(mut self, handler: H) -> Self {
        self.any = Some(make(handler));
        self
    }
}

fn make<H, Args>(handler: H) -> Make
where
    H: Handler<Args> + Clone + Send + Sync,
    Args: 'static,
{
    Arc::new(move || Rc::new(Function::new(handler.clone())))
}

/// Takes GET, and with it HEAD and extended CONNECT.
///
/// ```
/// use stagedoor::{Path, get};
///
/// let endpoint = get(|Path(id): Path<u64>| async move { format!("user {id}\n") });
/// ```
pub fn get<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    on(Method::GET, handler)
}

/// Takes POST.
///
/// ```
/// use stagedoor::{App, post};
///
/// let app = App::new().route("/echo", post(async |body: String| body));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.post("/echo", "hello").await.assert_text("hello");
/// # });
/// ```
pub fn post<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    on(Method::POST, handler)
}

/// Takes PUT.
///
/// ```
/// use stagedoor::{App, Path, put};
///
/// async fn keep(Path(name): Path<String>, body: bytes::Bytes) -> String {
///     format!("{name}: {} octets\n", body.len())
/// }
///
/// let app = App::new().route("/files/{name}", put(keep));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// let asked = http::Request::put("/files/list").body("tea").unwrap();
/// client.request(asked).await.assert_text("list: 3 octets\n");
/// # });
/// ```
pub fn put<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    on(Method::PUT, handler)
}

/// Takes PATCH.
///
/// ```
/// use stagedoor::{App, Path, patch};
///
/// let rename = async |Path(id): Path<u64>, name: String| format!("{id} is called {name}\n");
/// let app = App::new().route("/users/{id}", patch(rename));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// let asked = http::Request::patch("/users/7").body("Ada").unwrap();
/// client.request(asked).await.assert_text("7 is called Ada\n");
/// # });
/// ```
pub fn patch<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    on(Method::PATCH, handler)
}

/// Takes DELETE.
///
/// ```
/// use stagedoor::{App, Path, StatusCode, delete};
///
/// let app = App::new().route("/users/{id}", delete(async |Path(_): Path<u64>| StatusCode::NO_CONTENT));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// let asked = http::Request::delete("/users/7").body("").unwrap();
/// client.request(asked).await.assert_status(204);
/// # });
/// ```
pub fn delete<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    on(Method::DELETE, handler)
}

/// Takes one method.
///
/// ```
/// use stagedoor::{App, on};
///
/// let app = App::new().route("/", on(http::Method::OPTIONS, async || ([("allow", "OPTIONS")], "")));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// let asked = http::Request::options("/").body("").unwrap();
/// client.request(asked).await.assert_status(200).assert_header("allow", "OPTIONS");
/// # });
/// ```
pub fn on<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(method: Method, handler: H) -> Endpoint {
    Endpoint { methods: Vec::new(), any: None }.with(method, handler)
}

/// Takes every method.
///
/// ```
/// use stagedoor::{App, any};
///
/// let app = App::new().route("/", any(async |method: http::Method| method.to_string()));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/").await.assert_text("GET");
/// client.post("/", "").await.assert_text("POST");
/// # });
/// ```
pub fn any<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> Endpoint {
    Endpoint { methods: vec![], any: None }.any(handler)
}

/// Takes every method with a handler that stays on one thread: `make` is called on each worker's, once for each listener,
/// and what it makes may hold `Rc`s.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// let endpoint = stagedoor::local(|| {
///     let served = Rc::new(Cell::new(0));
///     move || {
///         let served = Rc::clone(&served);
///         async move {
///             served.set(served.get() + 1);
///             format!("number {} of this worker\n", served.get())
///         }
///     }
/// });
/// ```
pub fn local<F, H, Args>(make: F) -> Endpoint
where
    F: Fn() -> H + Send + Sync + 'static,
    H: Handler<Args>,
    Args: 'static,
{
    Endpoint::made(Arc::new(move || Rc::new(Function::new(make()))))
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        f.debug_struct("Endpoint").field("methods", &methods).field("any", &self.any.is_some()).finish()
    }
}
