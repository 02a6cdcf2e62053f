//! Frames beyond RFC 9113 that a server says about origins: ALTSVC (RFC 7838 §4) and ORIGIN (RFC 8336).
//!
//! Servers send them, clients read them; a server that receives one does as with any unknown frame. What is malformed is
//! ignored. Keeps nothing: the set of origins and the alternatives are the owner's.

use super::{Connection, Role};
use crate::error::{ConnectionError, UserError};
use crate::event::Event;
use crate::frame::{FrameHeader, HEADER_LEN, kind};
use crate::ids::StreamId;
use crate::stream::{SendHalf, Stream};
use crate::web_origin;

/// Octets of origin and value in ALTSVC: a frame of 16 384 without the two of the length.
const MAX_ALTSVC: usize = 16_382;
/// Octets of entries in ORIGIN, their lengths included.
const MAX_ORIGIN: usize = 16_384;
/// Origins that one frame may bring; more are left out.
const MAX_ORIGINS: usize = 128;
/// Flags of ORIGIN that make a frame of another kind of it one day (RFC 8336 §2.2).
const ORIGIN_RESERVED_FLAGS: u8 = 0x0f;

/// What an alternative service is for.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::connection::AltSvcTarget;
/// use stagedoor_protocol::{Config, Connection, Role};
///
/// let mut server = Connection::new(Role::Server, Config::default(), Instant::now());
/// server.send_altsvc(AltSvcTarget::Origin("https://example.org"), "h2=\":8000\"")?;
/// assert!(server.send_altsvc(AltSvcTarget::Origin("example.org"), "h2=\":8000\"").is_err());
/// # Ok::<(), stagedoor_protocol::UserError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AltSvcTarget<'a> {
    /// An origin, or an `http(s)` URL whose origin is meant; sent on stream 0.
    Origin(&'a str),
    /// The origin of the request on this stream.
    Stream(StreamId),
}

impl Connection {
    /// Server: offers an alternative service (RFC 7838 §4). `value` is that of an Alt-Svc field (`h2=":8000"`); it is
    /// not judged beyond the characters a quoted-string may have.
    /// # Errors
    /// [`UserError::WrongRole`] on a client; [`UserError::InvalidOrigin`] for what is no `http(s)` origin;
    /// [`UserError::AltSvcValue`] for an empty value or one with other characters;
    /// [`UserError::FrameTooLong`] above 16 382 octets of origin and value; [`UserError::StreamGone`] or
    /// [`UserError::Ended`] for a stream that carries no more frames of ours; [`UserError::ConnectionClosed`].
    pub fn send_altsvc(&mut self, target: AltSvcTarget<'_>, value: &str) -> Result<(), UserError> {
        self.may_speak_of_origins()?;
        let payload = altsvc_payload(target, value)?;
        let id = match target {
            AltSvcTarget::Origin(_) => StreamId::CONNECTION,
            AltSvcTarget::Stream(id) => match self.table.get(id) {
                Some(Stream { send: SendHalf::Open(_), .. }) => id,
                Some(_) => return Err(UserError::Ended(id)),
                None => return Err(UserError::StreamGone(id)),
            },
        };
        self.write_frame(kind::ALTSVC, 0, id, &payload);
        Ok(())
    }

    /// What [`Self::send_altsvc`] refuses whatever the connection: for an owner that takes the order earlier than it
    /// can be carried out.
    /// # Errors
    /// As there, without those that the state of the connection or stream makes.
    pub fn check_altsvc(target: AltSvcTarget<'_>, value: &str) -> Result<(), UserError> {
        altsvc_payload(target, value).map(drop)
    }

    /// Server: tells which origins this connection answers for (RFC 8336); none at all is a statement too.
    /// # Errors
    /// [`UserError::WrongRole`] on a client; [`UserError::InvalidOrigin`] for what is no `http(s)` origin;
    /// [`UserError::FrameTooLong`] above 16 384 octets, two a name included; [`UserError::ConnectionClosed`].
    pub fn send_origin<S: AsRef<str>>(&mut self, origins: &[S]) -> Result<(), UserError> {
        self.may_speak_of_origins()?;
        let payload = origin_payload(origins)?;
        self.write_frame(kind::ORIGIN, 0, StreamId::CONNECTION, &payload);
        Ok(())
    }

    /// What [`Self::send_origin`] refuses whatever the connection.
    /// # Errors
    /// [`UserError::InvalidOrigin`], [`UserError::FrameTooLong`].
    pub fn check_origins<S: AsRef<str>>(origins: &[S]) -> Result<(), UserError> {
        origin_payload(origins).map(drop)
    }

    fn may_speak_of_origins(&self) -> Result<(), UserError> {
        match self.role {
            Role::Client => Err(UserError::WrongRole),
            Role::Server if self.is_closed() => Err(UserError::ConnectionClosed),
            Role::Server => Ok(()),
        }
    }

    /// Client: an alternative service. On stream 0 it names its origin, on another stream it must not (RFC 7838 §4).
    pub(super) fn on_altsvc(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        let id = header.id;
        let known = id.is_connection() || self.table.get(id).is_some();
        match read_altsvc(payload) {
            Some((origin, value)) if known && origin.is_empty() != id.is_connection() => {
                self.events.push_back(Event::AltSvcReceived { id, origin, value });
                Ok(())
            }
            Some(_) | None => self.spent.unknown_frame(HEADER_LEN + payload.len(), &self.config.budgets),
        }
    }

    /// Client: the origins this connection answers for.
    pub(super) fn on_origin(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        let meant = header.id.is_connection() && header.flags & ORIGIN_RESERVED_FLAGS == 0;
        match read_origins(payload) {
            Some(origins) if meant => {
                self.events.push_back(Event::OriginReceived { origins });
                Ok(())
            }
            Some(_) | None => self.spent.unknown_frame(HEADER_LEN + payload.len(), &self.config.budgets),
        }
    }
}

fn altsvc_payload(target: AltSvcTarget<'_>, value: &str) -> Result<Vec<u8>, UserError> {
    if value.is_empty() || !value.bytes().all(is_quotable) {
        return Err(UserError::AltSvcValue);
    }
    let origin = match target {
        AltSvcTarget::Origin(url) => origin_of(url)?,
        AltSvcTarget::Stream(_) => String::new(),
    };
    let length = origin.len() + value.len();
    if length > MAX_ALTSVC {
        return Err(UserError::FrameTooLong { frame: "ALTSVC", length, limit: MAX_ALTSVC });
    }
    let mut payload = Vec::with_capacity(2 + length);
    payload.extend_from_slice(&(origin.len() as u16).to_be_bytes());
    payload.extend_from_slice(origin.as_bytes());
    payload.extend_from_slice(value.as_bytes());
    Ok(payload)
}

fn origin_payload<S: AsRef<str>>(origins: &[S]) -> Result<Vec<u8>, UserError> {
    let mut payload = Vec::new();
    for origin in origins {
        let origin = origin_of(origin.as_ref())?;
        let length = payload.len() + 2 + origin.len();
        if length > MAX_ORIGIN {
            return Err(UserError::FrameTooLong { frame: "ORIGIN", length, limit: MAX_ORIGIN });
        }
        payload.extend_from_slice(&(origin.len() as u16).to_be_bytes());
        payload.extend_from_slice(origin.as_bytes());
    }
    Ok(payload)
}

fn origin_of(url: &str) -> Result<String, UserError> {
    web_origin::serialise(url).ok_or_else(|| UserError::InvalidOrigin(url.chars().take(256).collect()))
}

/// What a quoted-string may have, and the quotes themselves (RFC 9110 §5.6.4): an Alt-Svc value is made of them.
fn is_quotable(octet: u8) -> bool {
    matches!(octet, b'\t' | b' '..=b'[' | b']'..=b'~' | 0x80..)
}

/// Origin and value.
fn read_altsvc(payload: &[u8]) -> Option<(String, String)> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (origin, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let text = |octets: &[u8]| std::str::from_utf8(octets).ok().map(str::to_owned);
    if value.is_empty() || !value.iter().all(|&octet| is_quotable(octet)) {
        return None;
    }
    let origin = text(origin)?;
    // An origin has one way to be written; what else stands here is no origin we could compare.
    if !origin.is_empty() && web_origin::serialise(&origin)? != origin {
        return None;
    }
    Some((origin, text(value)?))
}

/// Entries that are origins; none where the frame does not end with one.
fn read_origins(mut payload: &[u8]) -> Option<Vec<String>> {
    let mut origins = Vec::new();
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        payload = rest;
        // An entry that cannot be read is left out, the others count (RFC 8336 §2.3).
        let origin = std::str::from_utf8(entry).ok().and_then(web_origin::serialise);
        if let Some(origin) = origin
            && origins.len() < MAX_ORIGINS
        {
            origins.push(origin);
        }
    }
    Some(origins)
}
