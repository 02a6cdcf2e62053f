//! Paths that read a body: `/echo`, `/sha256` and `/count`. All hold one piece at a time, so the peer's windows grow
//! at the pace of the slower side.

use sha2::{Digest as _, Sha256};
use stagedoor_actors::{Body, BodyError, Reply, Request, RequestBody, Response};

use super::answer;
use crate::hex::hex;

/// `/echo`: octets as they arrive, and the trailers.
///
/// Never under the sender's own `content-type`: a page of another site could have it run here.
pub(super) fn echo(request: Request) -> Response {
    let mut response = Response::new(200)
        .with_field("content-type", "application/octet-stream")
        .with_field("x-content-type-options", "nosniff")
        .with_field("cache-control", "no-store");
    for announced in request.head.fields().get_all("trailer") {
        response.fields.push("trailer", announced);
    }
    response.with_body(Body::stream(request.body))
}

/// `/sha256`: the digest in hex, a line of its own.
pub(super) fn sha256(request: Request) -> Reply {
    Reply::later(async move {
        let mut digest = Sha256::new();
        let read = each_piece(request.body, |octets| digest.update(octets)).await;
        answered(read.map(|()| hex(&digest.finalize())))
    })
}

/// `/count`: how many octets came, a line of its own. Nothing is done with them: what is left is the cost of
/// receiving.
pub(super) fn count(request: Request) -> Reply {
    Reply::later(async move {
        let mut count = 0;
        let read = each_piece(request.body, |octets| count += octets.len() as u64).await;
        answered(read.map(|()| count.to_string()))
    })
}

/// Reads a body as it comes.
async fn each_piece(mut body: RequestBody, mut take: impl FnMut(&[u8])) -> Result<(), BodyError> {
    while let Some(piece) = body.chunk().await {
        take(&piece?);
    }
    Ok(())
}

fn answered(line: Result<String, BodyError>) -> Response {
    match line {
        Ok(line) => answer::text(200, line + "\n"),
        Err(error) => answer::bad(format!("the body did not arrive whole: {error}")),
    }
}
