//! What most programs that serve take in one line: `use stagedoor::prelude::*;`.

pub use crate::{
    App, Close, Endpoint, Event, FromHead, FromRequest, Html, HttpRequest, HttpResponse, IntoResponse,
    Listen, Params, Path, Server, ServerHandle, ServerStream, Sse, SseEvent, State, StatusCode, Tls, any,
    delete, get, local, on_stream, patch, post, put, tower,
};
#[cfg(feature = "json")]
pub use crate::{Json, Query};
