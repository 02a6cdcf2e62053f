//! [`OnStream`]: the whole stream in a handler's hands, as Node's `'stream'` event gives it.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::{Reply, ServerStream};

use super::{Answers, Call, Endpoint, Params};

/// Answers a stream bit by bit: [`ServerStream`] has informational heads, head, body, trailers, files, pushes, tunnels and
/// resets. One instance for each worker; its future may be `!Send`.
///
/// A future that ends without an answer is answered 500, one that ends within its answer has its stream reset with
/// INTERNAL_ERROR; one whose stream ends first is dropped. A closure
/// `Fn(ServerStream, Params) -> impl Future<Output = ()>` is one, too.
///
/// ```
/// use stagedoor::{App, OnStream, Params, ServerStream, on_stream};
///
/// #[derive(Clone)]
/// struct Echo;
///
/// impl OnStream for Echo {
///     async fn on_stream(&self, mut stream: ServerStream, _: Params) {
///         while let Some(Ok(octets)) = stream.body().chunk().await {
///             if stream.write(octets).await.is_err() {
///                 return; // the client went
///             }
///         }
///         stream.finish().ok();
///     }
/// }
///
/// let app = App::new().route("/echo", on_stream(Echo));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.post("/echo", "and back").await.assert_text("and back");
/// # });
/// ```
pub trait OnStream: 'static {
    /// A stream began. `params` are those of the route's pattern.
    fn on_stream(&self, stream: ServerStream, params: Params) -> impl Future<Output = ()>;
}

impl<F, Fut> OnStream for F
where
    F: Fn(ServerStream, Params) -> Fut + 'static,
    Fut: Future<Output = ()>,
{
    fn on_stream(&self, stream: ServerStream, params: Params) -> impl Future<Output = ()> {
        self(stream, params)
    }
}

/// Serves streams with an [`OnStream`], a clone of it for each listener on each worker.
///
/// ```
/// use stagedoor::{App, Fields, Params, ServerStream, on_stream};
///
/// async fn countdown(mut stream: ServerStream, _: Params) {
///     for n in (1..=3).rev() {
///         if stream.write(format!("{n}\n")).await.is_err() {
///             return; // the client went
///         }
///     }
///     stream.trailers(Fields::from_iter([("x-count", "3")])).ok();
/// }
///
/// let app = App::new().route("/countdown", on_stream(countdown));
/// ```
pub fn on_stream<S: OnStream + Clone + Send + Sync>(handler: S) -> Endpoint {
    struct Streams<S>(Rc<S>);

    impl<S: OnStream> Answers for Streams<S> {
        fn answer(&self, call: Call) -> Reply {
            let handler = Rc::clone(&self.0);
            Reply::driven(async move {
                let Call { request, params, .. } = call;
                handler.on_stream(request.into_stream(), params).await;
            })
        }
    }

    Endpoint::made(Arc::new(move || Rc::new(Streams(Rc::new(handler.clone())))))
}
