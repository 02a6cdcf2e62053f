//! HEAD: the answer that GET would have had, without its body (RFC 9110 §9.3.2).

use stagedoor_actors::{Body, Reply, Response};

/// The head that GET would have, for HEAD (RFC 9110 §9.3.2).
pub(crate) fn without_body(reply: Reply) -> Reply {
    match reply {
        Reply::Ready(response) => head_only(response).into(),
        Reply::Later(response) => Reply::later(async { head_only(response.await) }),
    }
}

fn head_only(mut response: Response) -> Response {
    if let Body::Full(octets) = &response.body {
        response.fields.set("content-length", octets.len().to_string());
    }
    response.with_body(Body::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_keeps_the_length_of_a_body_it_drops() {
        let reply = without_body(Response::text("seven\n!").into());
        let Reply::Ready(response) = reply else { panic!("was ready") };
        assert_eq!(response.fields.get("content-length"), Some(&b"7"[..]));
        assert!(matches!(response.body, Body::Empty));
    }
}
