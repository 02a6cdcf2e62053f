//! What most programs that serve take in one line: `use stagedoor::prelude::*;`.
//!
//! ```
//! use stagedoor::prelude::*;
//!
//! async fn hello(Path(name): Path<String>) -> Html<String> {
//!     Html(format!("<h1>hello {name}</h1>"))
//! }
//!
//! let server = Server::new().listen("127.0.0.1:8080").route("/hello/{name}", get(hello));
//! ```

pub use crate::{
    App, Close, Endpoint, Event, FromHead, FromRequest, Html, HttpRequest, HttpResponse, IntoResponse,
    Listen, Params, Path, Server, ServerHandle, ServerStream, Sse, SseEvent, State, StatusCode, Tls, any,
    delete, get, local, on_stream, patch, post, put, tower,
};
#[cfg(feature = "json")]
pub use crate::{Json, Query};
