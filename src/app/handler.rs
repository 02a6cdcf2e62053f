//! [`Handler`]: an `async fn` of extractors as what answers.
//!
//! Every argument but the last is taken from the head ([`FromHead`]), the last one may take the body ([`FromRequest`]).
//! The first that cannot be had is the answer.

use std::future::Future;
use std::marker::PhantomData;

use stagedoor_actors::{IntoResponse, Reply};

use super::extract::{FromHead, FromRequest};
use super::{Answers, Call};

/// An `async fn` of up to eight extractors that returns what is a response ([`IntoResponse`]). Its future may be `!Send`.
///
/// ```
/// use stagedoor::{App, Handler, Path, get};
///
/// /// One handler at two places.
/// fn twice<H: Handler<Args> + Clone + Send + Sync, Args: 'static>(handler: H) -> App {
///     App::new().route("/a/{n}", get(handler.clone())).route("/b/{n}", get(handler))
/// }
///
/// let app = twice(async |Path(n): Path<u32>| format!("{n}\n"));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/a/3").await.assert_text("3\n");
/// client.get("/b/4").await.assert_text("4\n");
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    note = "a handler is an async fn or closure of up to eight extractors (all but the last `FromHead`) that returns `impl IntoResponse`"
)]
pub trait Handler<Args>: 'static {
    /// Answers a request.
    fn reply(&self, call: Call) -> Reply;
}

macro_rules! handlers {
    ($($head:ident)*, $last:ident) => {
        impl<F, Fut, M, $($head,)* $last> Handler<(M, $($head,)* $last,)> for F
        where
            F: Fn($($head,)* $last) -> Fut + Clone + 'static,
            Fut: Future + 'static,
            Fut::Output: IntoResponse,
            $($head: FromHead + 'static,)*
            $last: FromRequest<M> + 'static,
        {
            #[allow(non_snake_case)]
            fn reply(&self, call: Call) -> Reply {
                let handler = self.clone();
                Reply::soon(async move {
                    $(
                        let $head = match $head::from_head(&call) {
                            Ok(value) => value,
                            Err(refused) => return refused.into_response(),
                        };
                    )*
                    let last = match $last::from_request(call).await {
                        Ok(value) => value,
                        Err(refused) => return refused.into_response(),
                    };
                    handler($($head,)* last).await.into_response()
                })
            }
        }
    };
}

handlers!(, A);
handlers!(A, B);
handlers!(A B, C);
handlers!(A B C, D);
handlers!(A B C D, E);
handlers!(A B C D E, G);
handlers!(A B C D E G, H);
handlers!(A B C D E G H, I);

impl<F, Fut> Handler<()> for F
where
    F: Fn() -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    fn reply(&self, _: Call) -> Reply {
        let answer = self();
        Reply::soon(async move { answer.await.into_response() })
    }
}

/// A handler with its arguments' types, as an endpoint keeps it.
pub(super) struct Function<H, Args> {
    handler: H,
    args: PhantomData<fn(Args)>,
}

impl<H, Args> Function<H, Args> {
    pub(super) fn new(handler: H) -> Self {
        Self { handler, args: PhantomData }
    }
}

impl<H: Handler<Args>, Args> Answers for Function<H, Args> {
    fn answer(&self, call: Call) -> Reply {
        self.handler.reply(call)
    }
}
