//! Before it is known what a session speaks: the PROXY header where the listener takes one, TLS, each under its deadline,
//! then ALPN or the first octets decide.
//!
//! A peer that is trusted to speak for others has its header first, or is closed; one that is not trusted is closed if it
//! sends one, and is otherwise served as itself.
//!
//! TLS with ALPN `h2`: HTTP/2; `http/1.1` or none: HTTP/1.1 where allowed; a foreign ALPN got its alert from
//! rustls. Cleartext: the 24 octets of the preface (RFC 9113 §3.4) mean HTTP/2 by prior knowledge (§3.3),
//! anything else HTTP/1.1 where allowed. What is not allowed gets a short HTTP/1.0 refusal.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_metrics::{CloseReason, ConnectionResult, Protocol, TlsResult, TlsVersion};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use super::common::{Common, Facts};
use super::handle::{Certificate, TlsFacts};
use super::http1::Http1;
use super::http2::{Http2, io_failed};
use super::parting::Parting;
use super::proxied::{Found, Header};
use super::timer::Due;
use super::{Engine, Step};
use crate::close::CloseSession;
use crate::config::ProxyProtocol;
use crate::events::Event;
use crate::scratch;
use crate::transport::{Below, Raw, Transport};

/// What every HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client hears whose protocol is not spoken here (Node answers the same way).
const REFUSAL: &[u8] = b"HTTP/1.0 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 27\r\n\
connection: close\r\n\r\nUnknown protocol, use h2.\r\n";

/// A drain gives a connection that has said nothing yet this long.
pub(super) const HURRY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Opening {
    state: State,
    since: Instant,
    until: Instant,
    /// A drain shortened `until`.
    hurried: bool,
    /// TLS comes first, or after the PROXY header.
    tls: bool,
}

enum State {
    /// The first octets, as long as they could become a PROXY header.
    Proxied(Raw, Header, Speaker),
    Tls(Box<Accept<Below>>),
    /// The first octets, as long as they could become the preface.
    Looking(Raw, Vec<u8>),
    /// It speaks what we do not: the refusal goes out.
    Refused(Transport),
    Gone,
}

/// Whose words a PROXY header would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// It must send one.
    Proxy,
    /// It must not.
    Anybody,
}

impl Opening {
    pub(crate) fn new(io: Raw, tls: bool, common: &Common, now: Instant) -> Self {
        let config = &common.host.config;
        let (state, time) = match config.proxy_protocol {
            ProxyProtocol::Off => Self::after_proxy(io, Vec::new(), tls, common),
            speaks => {
                let (speaker, speaks) = match config.is_proxy(common.peer_ip()) {
                    true => (Speaker::Proxy, speaks),
                    false => (Speaker::Anybody, ProxyProtocol::Any),
                };
                (State::Proxied(io, Header::new(speaks), speaker), config.timeouts.preface)
            }
        };
        Self { state, since: now, until: now + time, hurried: false, tls }
    }

    /// What comes after the PROXY header, or first, and how long it may take; `ahead` was read of it.
    fn after_proxy(io: Raw, ahead: Vec<u8>, tls: bool, common: &Common) -> (State, Duration) {
        let timeouts = &common.host.config.timeouts;
        match common.host.tls.as_ref().filter(|_| tls) {
            Some(tls) => {
                let below = Below::with_ahead(io, Bytes::from(ahead));
                (State::Tls(Box::new(tls.accept(below))), timeouts.handshake)
            }
            None => (State::Looking(io, ahead), timeouts.preface),
        }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        if matches!(self.state, State::Proxied(..))
            && let Some(step) = self.hear_proxy(common, cx, now)
        {
            return step;
        }
        match &mut self.state {
            State::Tls(accept) => match Pin::new(&mut **accept).poll(cx) {
                Poll::Pending => Step::Wait,
                Poll::Ready(Ok(stream)) => self.shaken(stream, common, now),
                Poll::Ready(Err(error)) => Self::failed(&error, common),
            },
            State::Looking(..) => self.look(common, cx, now),
            State::Proxied(..) | State::Refused(_) | State::Gone => Step::Gone,
        }
    }

    /// Reads the PROXY header, or sees that there is none; `None` when what follows it has its turn.
    fn hear_proxy(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Option<Step> {
        let State::Proxied(io, header, speaker) = &mut self.state else { return None };
        let client = loop {
            let most = match (header.look(), *speaker) {
                (Found::Foreign, Speaker::Anybody) => break None,
                (_, Speaker::Anybody) if header.has_begun() => {
                    return Some(Self::no_proxy("a PROXY header of somebody who is not trusted", common));
                }
                (Found::More(most), _) => most,
                (Found::Whole(client), _) => {
                    *header = Header::new(ProxyProtocol::Off);
                    break client;
                }
                (Found::Foreign, Speaker::Proxy) => return Some(Self::no_proxy("no PROXY header", common)),
                (Found::Broken(what), _) => return Some(Self::no_proxy(what, common)),
            };
            let mut room = scratch::take();
            let most = most.min(room.len());
            let mut buffer = ReadBuf::new(&mut room[..most]);
            let read = Pin::new(&mut *io).poll_read(cx, &mut buffer);
            let count = buffer.filled().len();
            header.extend(buffer.filled());
            scratch::put(room);
            match read {
                Poll::Pending => return Some(Step::Wait),
                Poll::Ready(Err(error)) => return Some(Step::Close(io_failed(&error))),
                Poll::Ready(Ok(())) if count == 0 => {
                    return Some(Step::Close(CloseSession::new(CloseReason::ClientClosed)));
                }
                Poll::Ready(Ok(())) => common.moved(count as u64, 0, now),
            }
        };
        let State::Proxied(io, header, _) = std::mem::replace(&mut self.state, State::Gone) else {
            return None;
        };
        if let Some(client) = client
            && let Err(full) = common.speaks_for(client)
        {
            common.account(full.into());
            common.host.outlet.tell(|listener| Event::LimitHit {
                session: Some(common.stats.id()),
                listener: Some(listener),
                limit: full.into(),
                times: 1,
            });
            let order = CloseSession::new(CloseReason::Limit).with_detail("its address has sessions enough");
            return Some(Step::Close(order.now()));
        }
        let (state, time) = Self::after_proxy(io, header.into_octets(), self.tls, common);
        (self.state, self.since) = (state, now);
        if !self.hurried {
            self.until = now + time;
        }
        if let State::Looking(_, seen) = &self.state
            && !seen.is_empty()
        {
            return self.judge(common, cx, now);
        }
        None
    }

    fn no_proxy(detail: &'static str, common: &mut Common) -> Step {
        common.account(ConnectionResult::RefusedProxy);
        Step::Close(CloseSession::new(CloseReason::ProtocolError).with_detail(detail).now())
    }

    /// The TLS handshake is done: ALPN decides.
    fn shaken(&mut self, stream: TlsStream<Below>, common: &mut Common, now: Instant) -> Step {
        let tls = stream.get_ref().1;
        let version = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::V13,
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::V12,
            _ => TlsVersion::None,
        };
        common.host.cells.tls_handshakes[TlsResult::Ok][version].inc();
        let nanos = u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        common.host.cells.tls_handshake_duration.observe_nanos(nanos);
        let is_h2 = tls.alpn_protocol() == Some(b"h2");
        let facts = Facts {
            local: stream.get_ref().0.local(),
            unix: stream.get_ref().0.is_unix(),
            server_name: tls.server_name().map(str::to_owned),
            tls: Some(TlsFacts { client_certificate: shown(tls), ..facts_of(tls) }),
        };
        let io = Transport::Tls(Box::new(stream));
        if is_h2 {
            let link = common.opened_as(Protocol::H2, facts, now);
            return Step::Become(Engine::Http2(Box::new(Http2::new(io, common, link, now))));
        }
        if common.host.config.http1 {
            let link = common.opened_as(Protocol::Http1, facts, now);
            return Step::Become(Engine::Http1(Box::new(Http1::new(io, Bytes::new(), common, link, now))));
        }
        self.refuse(io, "no ALPN")
    }

    fn failed(error: &io::Error, common: &mut Common) -> Step {
        let gone = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let (result, reason) = match gone {
            true => (TlsResult::Closed, CloseReason::ClientClosed),
            false => (TlsResult::Error, CloseReason::TlsError),
        };
        common.host.cells.tls_handshakes[result][TlsVersion::None].inc();
        common.account(ConnectionResult::TlsError);
        Step::Close(CloseSession::new(reason).with_detail(error.to_string()))
    }

    /// Reads until the octets cannot become the preface, or are it.
    fn look(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        let State::Looking(io, seen) = &mut self.state else { return Step::Gone };
        let mut room = scratch::take();
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(io).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        seen.extend_from_slice(buffer.filled());
        scratch::put(room);
        match read {
            Poll::Pending => return Step::Wait,
            Poll::Ready(Err(error)) => return Step::Close(io_failed(&error)),
            Poll::Ready(Ok(())) if count == 0 => {
                return Step::Close(CloseSession::new(CloseReason::ClientClosed));
            }
            Poll::Ready(Ok(())) => common.moved(count as u64, 0, now),
        }
        self.judge(common, cx, now).unwrap_or(Step::Wait)
    }

    /// Whether the octets so far can become the preface, or are it; `None` where more are needed to tell.
    fn judge(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Option<Step> {
        let State::Looking(_, seen) = &self.state else { return Some(Step::Gone) };
        let known = seen.len().min(PREFACE.len());
        let is_preface = seen[..known] == PREFACE[..known];
        if is_preface && seen.len() < PREFACE.len() {
            cx.waker().wake_by_ref();
            return None;
        }
        let State::Looking(io, seen) = std::mem::replace(&mut self.state, State::Gone) else {
            return Some(Step::Gone);
        };
        let facts = Facts { local: io.local(), unix: io.is_unix(), ..Facts::default() };
        let io = Transport::Plain(io);
        if is_preface && common.host.config.http2 {
            let link = common.opened_as(Protocol::H2c, facts, now);
            let mut http2 = Http2::new(io, common, link, now);
            http2.preload(&seen, now);
            return Some(Step::Become(Engine::Http2(Box::new(http2))));
        }
        if !is_preface && common.host.config.http1 {
            let link = common.opened_as(Protocol::Http1, facts, now);
            let http1 = Http1::new(io, Bytes::from(seen), common, link, now);
            return Some(Step::Become(Engine::Http1(Box::new(http1))));
        }
        Some(self.refuse(io, "a protocol that is switched off"))
    }

    fn refuse(&mut self, io: Transport, detail: &'static str) -> Step {
        self.state = State::Refused(io);
        Step::Close(CloseSession::new(CloseReason::ProtocolError).with_detail(detail))
    }

    /// The end of it: the refusal goes out where there is one, else the socket closes.
    pub(crate) fn abort(self, common: &Common, now: Instant) -> Engine {
        match self.state {
            State::Refused(io) => {
                let until = now + common.host.config.timeouts.unknown_protocol;
                Engine::Parting(Box::new(Parting::refusing(io, Bytes::from_static(REFUSAL), until)))
            }
            State::Proxied(..) | State::Tls(_) | State::Looking(..) | State::Gone => Engine::Gone,
        }
    }

    /// A drain began: a client that has said nothing gets a moment, then goes.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.until = self.until.min(now + HURRY);
        self.hurried = true;
    }

    pub(crate) fn on_timer(&mut self, common: &mut Common, now: Instant) -> Option<CloseSession> {
        if now < self.until {
            return None;
        }
        if self.hurried {
            return Some(common.cut_off_order());
        }
        Some(CloseSession::new(match self.state {
            State::Tls(_) => {
                common.host.cells.tls_handshakes[TlsResult::Timeout][TlsVersion::None].inc();
                CloseReason::HandshakeTimeout
            }
            State::Proxied(_, _, Speaker::Proxy) => {
                common.account(ConnectionResult::RefusedProxy);
                CloseReason::PrefaceTimeout
            }
            State::Proxied(..) | State::Looking(..) | State::Refused(_) | State::Gone => {
                CloseReason::PrefaceTimeout
            }
        }))
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, Due)> {
        Some((self.until, Due::Absolute))
    }
}

/// The certificate that the client showed.
fn shown(tls: &rustls::CommonState) -> Option<Certificate> {
    let leaf = tls.peer_certificates()?.first()?;
    Some(Certificate::new(leaf))
}

/// What a handshake agreed on, on either end.
pub(crate) fn facts_of(tls: &rustls::CommonState) -> TlsFacts {
    let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsFacts {
        version: match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        // rustls marks the suites of TLS 1.3; IANA does not.
        cipher: cipher.unwrap_or("unknown").replace("TLS13_", "TLS_"),
        alpn: tls.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        client_certificate: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
