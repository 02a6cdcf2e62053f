//! Extractors: what a handler asks for by the types of its arguments.
//!
//! [`FromHead`] reads the head alone, [`FromRequest`] may take the body and comes last. What cannot be had is answered
//! in plain words by a [`Rejection`]; the handler is not called then. No body is gathered without a limit.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use stagedoor_actors::{
    BodyError, IntoResponse, Request, Response, SessionHandle, SessionInfo, StreamHandle, TraceContext,
    convert,
};

use super::Call;
use super::params::{FromParams, Params, Unfit};
use crate::facade::{HttpRequest, to_http};
use crate::send_body::SendBody;

/// What can be read from the head of a request.
///
/// ```
/// use stagedoor::{App, Call, FromHead, Rejection, get};
///
/// struct Key(String);
///
/// impl FromHead for Key {
///     type Rejection = Rejection;
///
///     fn from_head(call: &Call) -> Result<Self, Rejection> {
///         let key = call.request.head.fields().get_str("x-key");
///         key.map(|key| Self(key.to_owned())).ok_or_else(|| Rejection::bad_request("x-key is missing"))
///     }
/// }
///
/// let app = App::new().route("/", get(async |Key(key): Key| format!("{key} may come in\n")));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/").await.assert_status(400).assert_text("x-key is missing\n");
/// # });
/// ```
pub trait FromHead: Sized {
    /// The answer where it cannot.
    type Rejection: IntoResponse;

    /// Reads it.
    /// # Errors
    /// The answer that the client gets in place of the handler's.
    fn from_head(call: &Call) -> Result<Self, Self::Rejection>;
}

/// What a request can become, body and all. `M` keeps the two kinds of extractors apart and is never named.
///
/// ```
/// use stagedoor::{App, Call, FromRequest, Response, post};
///
/// struct Lines(Vec<String>);
///
/// impl FromRequest for Lines {
///     type Rejection = Response;
///
///     async fn from_request(call: Call) -> Result<Self, Response> {
///         let text = String::from_request(call).await?;
///         Ok(Self(text.lines().map(str::to_owned).collect()))
///     }
/// }
///
/// let app = App::new().route("/", post(async |Lines(lines): Lines| format!("{} lines\n", lines.len())));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.post("/", "one\ntwo\n").await.assert_text("2 lines\n");
/// # });
/// ```
pub trait FromRequest<M = ViaRequest>: Sized {
    /// The answer where it cannot.
    type Rejection: IntoResponse;

    /// Takes the request.
    /// # Errors
    /// The answer that the client gets in place of the handler's.
    fn from_request(call: Call) -> impl Future<Output = Result<Self, Self::Rejection>>;
}

/// Marks extractors that take the request.
#[derive(Clone, Copy, Debug)]
pub enum ViaRequest {}

/// Marks extractors that read the head.
#[derive(Clone, Copy, Debug)]
pub enum ViaHead {}

impl<T: FromHead> FromRequest<ViaHead> for T {
    type Rejection = T::Rejection;

    async fn from_request(call: Call) -> Result<Self, T::Rejection> {
        T::from_head(&call)
    }
}

/// Why a handler was not called: a status, and a sentence for the client.
///
/// ```
/// use stagedoor::{IntoResponse as _, Rejection, StatusCode};
///
/// let refused = Rejection { status: StatusCode::FORBIDDEN, words: "not before nine".to_owned() };
/// assert_eq!(refused.into_response().status, 403);
/// assert_eq!(Rejection::bad_request("x-key is missing").into_response().status, 400);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Of the answer.
    pub status: StatusCode,
    /// Its body.
    pub words: String,
}

impl Rejection {
    /// 400.
    pub fn bad_request(words: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, words: words.into() }
    }

    /// 500; `words` go to the log alone.
    fn mistake(words: &str) -> Self {
        tracing::error!("a handler cannot be called: {words}");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, words: "internal server error".into() }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.words)).into_response()
    }
}

/// A body that is larger than [`App::body_limit`](super::App::body_limit), or broke on its way.
///
/// ```
/// use bytes::Bytes;
/// use stagedoor::{App, BodyTooLarge, Call, FromRequest as _, IntoResponse as _, Response, post};
///
/// async fn length(call: Call) -> Response {
///     let read: Result<Bytes, BodyTooLarge> = Bytes::from_request(call).await;
///     match read {
///         Ok(body) => format!("{} octets\n", body.len()).into_response(),
///         Err(error) => error.into_response(),
///     }
/// }
///
/// let app = App::new().route("/", post(length)).body_limit(4);
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.post("/", "four").await.assert_status(200);
/// client.post("/", "fives").await.assert_status(413);
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyTooLarge(BodyError);

impl IntoResponse for BodyTooLarge {
    fn into_response(self) -> Response {
        let status = match self.0 {
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

/// Parameters of the route's pattern, decoded: `Path(id): Path<u64>`, `Path((user, tag)): Path<(u64, String)>`.
///
/// ```
/// use stagedoor::{App, Path, get};
///
/// async fn tagged(Path((user, tag)): Path<(u64, String)>) -> String {
///     format!("{tag} of {user}\n")
/// }
///
/// let app = App::new().route("/{user}/{tag}", get(tagged));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/7/red").await.assert_text("red of 7\n");
/// client.get("/me/red").await.assert_status(400);
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: FromParams> FromHead for Path<T> {
    type Rejection = Rejection;

    fn from_head(call: &Call) -> Result<Self, Rejection> {
        T::from_params(&call.params).map(Self).map_err(|unfit| match unfit {
            Unfit::Missing(_) => Rejection::mistake(&unfit.to_string()),
            Unfit::Value { .. } => Rejection::bad_request(unfit.to_string()),
        })
    }
}

/// A value of the application, see [`App::state`](super::App::state): a clone. Without it the answer is 500, and the log
/// names the type.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use stagedoor::{App, State, get};
///
/// async fn visit(State(visits): State<Arc<AtomicU64>>) -> String {
///     format!("visitor {}\n", visits.fetch_add(1, Ordering::Relaxed) + 1)
/// }
///
/// let app = App::new().route("/", get(visit)).state(Arc::new(AtomicU64::new(0)));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/").await.assert_text("visitor 1\n");
/// client.get("/").await.assert_text("visitor 2\n");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct State<T>(pub T);

impl<T: Clone + Send + Sync + 'static> FromHead for State<T> {
    type Rejection = Rejection;

    fn from_head(call: &Call) -> Result<Self, Rejection> {
        let state = call.shared.state().map(Self);
        state.ok_or_else(|| Rejection::mistake(&format!("no state of {}", std::any::type_name::<T>())))
    }
}

macro_rules! heads {
    ($($type:ty: $call:ident => $value:expr),* $(,)?) => {$(
        impl FromHead for $type {
            type Rejection = Infallible;

            fn from_head($call: &Call) -> Result<Self, Infallible> {
                Ok($value)
            }
        }
    )*};
}

heads! {
    Params: call => call.params.clone(),
    HeaderMap: call => convert::to_headers(call.request.head.fields()),
    SessionHandle: call => call.request.session.clone(),
    Arc<SessionInfo>: call => call.request.session.shared_info(),
    StreamHandle: call => call.request.handle(),
    TraceContext: call => call.request.trace(),
}

impl FromHead for Method {
    type Rejection = Rejection;

    fn from_head(call: &Call) -> Result<Self, Rejection> {
        Self::from_bytes(call.request.head.method_octets())
            .map_err(|_| Rejection::bad_request("no such method"))
    }
}

impl FromHead for Uri {
    type Rejection = Rejection;

    fn from_head(call: &Call) -> Result<Self, Rejection> {
        convert::to_uri(&call.request.head).ok_or_else(|| Rejection::bad_request("the target is no URI"))
    }
}

impl FromRequest for Call {
    type Rejection = Infallible;

    async fn from_request(call: Call) -> Result<Self, Infallible> {
        Ok(call)
    }
}

impl FromRequest for Request {
    type Rejection = Infallible;

    async fn from_request(call: Call) -> Result<Self, Infallible> {
        Ok(call.request)
    }
}

impl FromRequest for HttpRequest {
    type Rejection = Rejection;

    async fn from_request(call: Call) -> Result<Self, Rejection> {
        to_http(call.request)
            .ok_or_else(|| Rejection::bad_request("the request is not one of the http crate"))
    }
}

impl FromRequest for SendBody {
    type Rejection = Infallible;

    async fn from_request(call: Call) -> Result<Self, Infallible> {
        Ok(Self::new(call.request.body))
    }
}

impl FromRequest for Bytes {
    type Rejection = BodyTooLarge;

    async fn from_request(call: Call) -> Result<Self, BodyTooLarge> {
        let limit = call.shared.body_limit();
        call.request.body.collect(limit).await.map_err(BodyTooLarge)
    }
}

impl FromRequest for String {
    type Rejection = Response;

    async fn from_request(call: Call) -> Result<Self, Response> {
        let octets = Bytes::from_request(call).await.map_err(IntoResponse::into_response)?;
        Self::from_utf8(octets.into())
            .map_err(|_| Rejection::bad_request("the body is not UTF-8").into_response())
    }
}

#[cfg(feature = "json")]
pub use json::{Json, Query};

#[cfg(feature = "json")]
mod json {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    /// The query of the target, read by the names of a type's fields.
    ///
    /// ```
    /// use stagedoor::{App, Query, get};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Wanted {
    ///     page: u32,
    /// }
    ///
    /// let app = App::new().route("/", get(async |Query(wanted): Query<Wanted>| format!("{}\n", wanted.page)));
    /// # stagedoor::testing::run(async {
    /// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
    /// # let client = server.client().await;
    /// client.get("/?page=2").await.assert_text("2\n");
    /// client.get("/?page=two").await.assert_status(400);
    /// # });
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Query<T>(pub T);

    impl<T: DeserializeOwned> FromHead for Query<T> {
        type Rejection = Rejection;

        fn from_head(call: &Call) -> Result<Self, Rejection> {
            let path = call.request.head.path().unwrap_or_default();
            let query = path.split_once('?').map_or("", |(_, query)| query);
            serde_urlencoded::from_str(query)
                .map(Self)
                .map_err(|error| Rejection::bad_request(format!("the query: {error}")))
        }
    }

    /// A body in JSON, either way: an argument is read from one (`content-type` has to say so), a result is written as one.
    ///
    /// ```
    /// use stagedoor::{App, Json, post};
    ///
    /// async fn sum(Json(numbers): Json<Vec<u32>>) -> Json<u32> {
    ///     Json(numbers.iter().sum())
    /// }
    ///
    /// let app = App::new().route("/sum", post(sum));
    /// # stagedoor::testing::run(async {
    /// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
    /// # let client = server.client().await;
    /// let asked = http::Request::post("/sum").header("content-type", "application/json").body("[1, 2, 3]");
    /// client.request(asked.unwrap()).await.assert_header("content-type", "application/json").assert_text("6");
    /// # });
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Json<T>(pub T);

    impl<T: DeserializeOwned> FromRequest for Json<T> {
        type Rejection = Response;

        async fn from_request(call: Call) -> Result<Self, Response> {
            let named = call.request.head.fields().get_str("content-type").is_some_and(is_json);
            if !named {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                let words = "the body has to be JSON: content-type: application/json".to_owned();
                return Err(Rejection { status, words }.into_response());
            }
            let octets = Bytes::from_request(call).await.map_err(IntoResponse::into_response)?;
            serde_json::from_slice(&octets).map(Self).map_err(|error| {
                // What is well-formed and does not fit is another's mistake than what is not.
                let status = match error.classify() {
                    serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                    _ => StatusCode::BAD_REQUEST,
                };
                Rejection { status, words: format!("the body: {error}") }.into_response()
            })
        }
    }

    /// `application/json` or `application/*+json` (RFC 6839 §3.1), whatever follows.
    fn is_json(value: &str) -> bool {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let Some(subtype) = essence.strip_prefix("application/") else { return false };
        subtype == "json" || subtype.ends_with("+json")
    }

    impl<T: Serialize> IntoResponse for Json<T> {
        fn into_response(self) -> Response {
            match serde_json::to_vec(&self.0) {
                Ok(octets) => Response::new(200)
                    .with_field("content-type", "application/json")
                    .with_body(stagedoor_actors::Body::full(octets.into())),
                Err(error) => {
                    Rejection::mistake(&format!("what it answers is no JSON: {error}")).into_response()
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn json_is_known_by_its_media_type() {
            for yes in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
                assert!(is_json(yes), "{yes}");
            }
            for no in ["text/json", "application/jsonp", "json", ""] {
                assert!(!is_json(no), "{no}");
            }
        }
    }
}
