//! What a server answers: [`App`], routes from paths to [`Endpoint`]s.
//!
//! A description that any thread may hold; each worker makes its own instance, so that what answers may stay on one
//! thread. Knows no upstreams, hosts or files of configuration: those are the gateway's.
//!
//! Invariants: every request is answered by one endpoint or by 404, 405 or 400 in plain words; a route is counted under
//! its pattern, never under a path that somebody sent.

mod endpoint;
mod extract;
mod handler;
mod params;
mod respond;
mod site;
mod stream;

use std::sync::Arc;

use http::Extensions;
use stagedoor_actors::{Request, ServiceFactory};
use stagedoor_metrics::Metrics;

pub(crate) use endpoint::Answers;
pub use endpoint::{Endpoint, any, delete, get, local, on, patch, post, put};
pub use extract::{BodyTooLarge, FromHead, FromRequest, Path, Rejection, State, ViaHead, ViaRequest};
#[cfg(feature = "json")]
pub use extract::{Json, Query};
pub use handler::Handler;
pub use params::{FromParam, FromParams, Params, Unfit};
pub use respond::{Html, Sse, SseEvent};
pub use stream::{OnStream, on_stream};

/// Octets of a body that an extractor takes whole where nothing else was said: 2 MiB.
pub const BODY_LIMIT: usize = 2 << 20;

/// A request on its way to what answers it, for who writes an extractor.
///
/// ```
/// use stagedoor::{App, Call, get};
///
/// async fn told(call: Call) -> String {
///     format!("{} with {}\n", call.request.head.path().unwrap_or("-"), call.params)
/// }
///
/// let app = App::new().route("/users/{id}", get(told));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/users/7").await.assert_text("/users/7 with id=7\n");
/// # });
/// ```
pub struct Call {
    /// The request.
    pub request: Request,
    /// What the pattern of its route took from the path.
    pub params: Params,
    /// What the application shares, see [`App::state`].
    pub shared: Arc<Shared>,
}

/// What the handlers of an [`App`] share.
///
/// ```
/// use stagedoor::{App, Call, get};
///
/// async fn told(call: Call) -> String {
///     let motto: Option<&'static str> = call.shared.state();
///     format!("{}, {} octets\n", motto.unwrap_or("-"), call.shared.body_limit())
/// }
///
/// let app = App::new().route("/", get(told)).state("short").body_limit(512);
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/").await.assert_text("short, 512 octets\n");
/// # });
/// ```
#[derive(Default)]
pub struct Shared {
    pub(crate) states: Extensions,
    pub(crate) body_limit: Option<usize>,
}

impl Shared {
    /// Octets of a body that an extractor takes whole.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        self.body_limit.unwrap_or(BODY_LIMIT)
    }

    /// The state of a type, where the application has one.
    #[must_use]
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.states.get::<T>().cloned()
    }
}

/// Routes, and what they share.
///
/// Patterns are those of `matchit`: `/users/{id}` takes one segment, `/files/{*rest}` what is left. A written segment
/// goes before a parameter. Where no route takes a path the fallback does, without one it is 404; a path whose
/// endpoint does not take the method is 405 with `allow`.
///
/// ```
/// use stagedoor::{App, Path, get};
///
/// let app = App::new()
///     .route("/", get(|| async { "hello\n" }))
///     .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("hello {name}\n") }));
/// let server = stagedoor::Server::new().listen("127.0.0.1:0").app(app);
/// ```
#[derive(Clone, Default)]
#[must_use = "an app answers nothing before a server has it"]
pub struct App {
    routes: Vec<(String, Endpoint)>,
    fallback: Option<Endpoint>,
    states: Extensions,
    body_limit: Option<usize>,
}

/// A route that cannot be.
///
/// ```
/// use stagedoor::{App, Metrics, RouteError, get};
///
/// let app = App::new().route("users", get(async || "nobody\n"));
/// match app.factory(&Metrics::new("test")) {
///     Err(RouteError::Pattern { pattern, .. }) => assert_eq!(pattern, "users"),
///     _ => unreachable!("it does not begin with a slash"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The pattern is none, or another route takes the same paths.
    #[error(
        "route {pattern:?}: {reason}; patterns begin with '/', as in \"/users/{{id}}\" or \"/files/{{*rest}}\""
    )]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl App {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers paths of a pattern with `endpoint`. What is wrong with the pattern is told when the server starts.
    pub fn route(mut self, pattern: impl Into<String>, endpoint: Endpoint) -> Self {
        self.routes.push((pattern.into(), endpoint));
        self
    }

    /// Answers `prefix` and everything below it with `endpoint`. The path it sees is the whole one.
    ///
    /// ```
    /// use stagedoor::{App, get};
    ///
    /// let app = App::new().mount("/api", get(async |uri: http::Uri| uri.path().to_owned()));
    /// # stagedoor::testing::run(async {
    /// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
    /// # let client = server.client().await;
    /// client.get("/api").await.assert_text("/api");
    /// client.get("/api/v1/users").await.assert_text("/api/v1/users");
    /// # });
    /// ```
    pub fn mount(self, prefix: &str, endpoint: Endpoint) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let below = format!("{prefix}/{{*rest}}");
        let dir = format!("{prefix}/");
        let this = if prefix.is_empty() { self } else { self.route(prefix, endpoint.clone()) };
        this.route(dir, endpoint.clone()).route(below, endpoint)
    }

    /// Answers what no route takes, plain CONNECT included. A whole application, such as an axum `Router`, is one.
    pub fn fallback(mut self, endpoint: Endpoint) -> Self {
        self.fallback = Some(endpoint);
        self
    }

    /// Gives handlers a value by its type, see [`State`].
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(state);
        self
    }

    /// Octets of a body that extractors take whole; [`BODY_LIMIT`] otherwise. More is answered 413.
    pub fn body_limit(mut self, octets: usize) -> Self {
        self.body_limit = Some(octets);
        self
    }

    /// What a listener of [`ServerBuilder`](crate::ServerBuilder) serves; its routes are counted in `metrics`.
    ///
    /// ```
    /// use stagedoor::{App, Metrics, get, testing};
    ///
    /// let app = App::new().route("/", get(async || "hello\n"));
    /// testing::run(async {
    ///     let server = testing::Server::new(app.factory(&Metrics::new("test")).expect("routes that can be"));
    ///     server.client().await.get("/").await.assert_text("hello\n");
    /// });
    /// ```
    /// # Errors
    /// The first route that cannot be.
    pub fn factory(&self, metrics: &Metrics) -> Result<ServiceFactory, RouteError> {
        let shared = Arc::new(Shared { states: self.states.clone(), body_limit: self.body_limit });
        site::factory(&self.routes, self.fallback.as_ref(), shared, metrics)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let patterns: Vec<&str> = self.routes.iter().map(|(pattern, _)| pattern.as_str()).collect();
        f.debug_struct("App").field("routes", &patterns).field("fallback", &self.fallback.is_some()).finish()
    }
}
