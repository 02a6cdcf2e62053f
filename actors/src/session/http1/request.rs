//! A request of HTTP/1.1 in the shape of ours, and hyper's body behind [`crate::RequestBody`].

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Version, header};
use http_body::{Body as _, SizeHint};
use hyper::service::Service;
use stagedoor_protocol::{Fields, RequestHead};

use super::slot::{Answered, Slot, SlotBody};
use crate::body::{BodyError, RequestBody};
use crate::convert;
use crate::link::{Exchange, Link, Refusal, ToSession};

/// Takes requests from hyper and hands them to the session as messages.
pub(crate) struct Front {
    link: Rc<Link>,
    secure: bool,
    header_bytes: u32,
}

impl Front {
    pub(super) fn new(link: Rc<Link>, secure: bool, header_bytes: u32) -> Self {
        Self { link, secure, header_bytes }
    }
}

impl Service<Request<hyper::body::Incoming>> for Front {
    type Response = http::Response<SlotBody>;
    type Error = super::slot::Broken;
    type Future = Answered;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Answered {
        let slot = Rc::new(Slot::default());
        let (parts, body) = request.into_parts();
        let head = to_head(&parts, self.secure, self.header_bytes);
        let length = body.size_hint().exact().filter(|_| parts.headers.contains_key(header::CONTENT_LENGTH));
        let body = if body.is_end_stream() {
            RequestBody::nothing()
        } else {
            let slot = Rc::clone(&slot);
            RequestBody::http1(
                Incoming { body, slot, link: Rc::clone(&self.link), declared: length.is_some(), over: false },
                length,
            )
        };
        let exchange = Exchange { head, body, slot: Rc::clone(&slot) };
        self.link.send(ToSession::Exchange(Box::new(exchange)));
        Answered::new(slot, Rc::clone(&self.link))
    }
}

/// The head in our shape: `authority` from an absolute target or from `host` (RFC 9112 §3.2), which then is
/// no field any more. hyper has judged the rest of the framing; what it lets through is refused here.
fn to_head(parts: &http::request::Parts, secure: bool, most: u32) -> Result<RequestHead, Refusal> {
    check_coding(&parts.headers)?;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err((400, "more than one host field\n"));
    }
    if host.is_none() && parts.version == Version::HTTP_11 {
        return Err((400, "the host field is missing\n"));
    }
    let host = match host.map(header::HeaderValue::to_str) {
        Some(Ok(host)) if is_host(host) => host,
        None => "",
        Some(_) => return Err((400, "the host field is not an authority\n")),
    };
    let target = check_target(parts)?;
    let authority = parts.uri.authority().map_or(host, http::uri::Authority::as_str);
    let mut head = match target {
        None => RequestHead::connect(authority),
        Some(path) => {
            let scheme = if secure { "https" } else { "http" };
            RequestHead::new(parts.method.as_str(), scheme, authority, &path)
        }
    };
    let fields = head.fields_mut();
    for (name, value) in &parts.headers {
        // An upgrade is nothing to HTTP/1.0 (RFC 9110 §7.8).
        let ignored = name == header::UPGRADE && parts.version < Version::HTTP_11;
        if name != header::HOST && !ignored {
            fields.push(name.as_str(), value.as_bytes());
        }
    }
    head.scan();
    // Counted as on HTTP/2, the request line too, so that a limit means the same on both.
    if list_size(&head) > most as usize {
        return Err((431, "header fields too large\n"));
    }
    Ok(head)
}

/// What the head would be counted with on HTTP/2 (RFC 9113 §6.5.2).
fn list_size(head: &RequestHead) -> usize {
    let pseudo = [
        (":method", Some(head.method())),
        (":scheme", head.scheme()),
        (":authority", head.authority()),
        (":path", head.path()),
    ];
    let sizes = pseudo.iter().filter_map(|(name, value)| value.map(|value| name.len() + value.len() + 32));
    head.fields().list_size() + sizes.sum::<usize>()
}

/// Chunked, once, is the only transfer coding understood here (RFC 9112 §6.1, §7). hyper looks at the last one alone.
fn check_coding(fields: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err((501, "no transfer coding but chunked, and that once, is understood here\n")),
    }
}

/// The path with its query of the four forms a target may have, each where it belongs (RFC 9112 §3.2); none for CONNECT.
/// hyper takes a lone word for an authority, whatever the method.
fn check_target(parts: &http::request::Parts) -> Result<Option<Cow<'_, str>>, Refusal> {
    let uri = &parts.uri;
    if uri.authority().is_some_and(|authority| !is_host(authority.as_str())) {
        return Err((400, "the authority of the target is none\n"));
    }
    let path = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    match (parts.method == http::Method::CONNECT, uri.scheme_str(), uri.authority()) {
        (true, None, Some(_)) if path.is_empty() => Ok(None),
        (true, ..) => Err((400, "the target of CONNECT is a host and a port\n")),
        (false, None, None) if path == "*" && parts.method != http::Method::OPTIONS => {
            Err((400, "* is the target of OPTIONS alone\n"))
        }
        (false, None, None) => Ok(Some(Cow::Borrowed(path))),
        // An empty path is the root (RFC 9110 §4.2.3).
        (false, Some("http" | "https"), Some(_)) if !path.starts_with('/') => {
            Ok(Some(format!("/{path}").into()))
        }
        (false, Some("http" | "https"), Some(_)) => Ok(Some(Cow::Borrowed(path))),
        (false, ..) => Err((400, "the target is no path and no URL of http or https\n")),
    }
}

/// A host and, behind a colon, perhaps a port (RFC 3986 §3.2.2, §3.2.3). No userinfo, nothing that ends an authority.
fn is_host(value: &str) -> bool {
    let bracketed = value.strip_prefix('[').map(|rest| rest.split_once(']'));
    let (host, port, signs) = match bracketed {
        Some(Some((address, rest))) => (address, rest, &b":.-_~"[..]),
        Some(None) => return false,
        None => {
            let (host, port) = value.split_at(value.find(':').unwrap_or(value.len()));
            (host, port, &b"-._~%!$&'()*+,;="[..])
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|octet| octet.is_ascii_digit()),
        None => port.is_empty(),
    };
    port && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || signs.contains(&octet))
}

/// Fields that say where a message goes and where it ends: nothing behind the body may (RFC 9110 §6.5.1).
const UNFIT: [header::HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// hyper's body, its octets counted.
///
/// In a trailer section hyper takes a blank line for its end where it is not, and drops what follows up to the next
/// one. So a chunked body with trailers, or one that nobody read to its end, is the last of its connection.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    slot: Rc<Slot>,
    link: Rc<Link>,
    declared: bool,
    /// It was read to its end.
    over: bool,
}

impl Incoming {
    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<Fields>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.slot.set_waiting(self.declared.then(|| self.link.now()));
                    self.slot.set_reads(true);
                    return Poll::Pending;
                }
                Poll::Ready(frame) => frame,
            };
            self.slot.set_waiting(None);
            self.slot.set_reads(false);
            let frame = match frame {
                None => {
                    self.over = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Broken(error.to_string())))),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    self.slot.add_received(data.len());
                    return Poll::Ready(Some(Ok(data)));
                }
                Err(frame) => {
                    self.slot.set_last();
                    if let Ok(mut map) = frame.into_trailers() {
                        UNFIT.iter().for_each(|name| drop(map.remove(name)));
                        *trailers = Some(convert::to_fields(&map));
                    }
                }
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.slot.set_waiting(None);
        self.slot.set_reads(false);
        if !self.declared && !self.over {
            self.slot.set_last();
        }
    }
}
