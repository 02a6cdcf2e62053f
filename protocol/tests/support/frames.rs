//! Frames as octets, right or wrong (RFC 9113 §4.1, §6; RFC 9218 §7.1), and a reader of them.

use stagedoor_protocol::ErrorCode;

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const PRIORITY: u8 = 0x2;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PUSH_PROMISE: u8 = 0x5;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;
pub const ALTSVC: u8 = 0xa;
pub const ORIGIN: u8 = 0xc;
pub const PRIORITY_UPDATE: u8 = 0x10;

pub const NONE: u8 = 0;
pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY_FLAG: u8 = 0x20;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as read off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub id: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Four octets of the payload as a number.
    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The code of RST_STREAM or GOAWAY.
    pub fn code(&self) -> ErrorCode {
        match self.kind {
            RST_STREAM => ErrorCode(self.u32_at(0)),
            GOAWAY => ErrorCode(self.u32_at(4)),
            kind => panic!("frame {kind:#x} has no code"),
        }
    }

    /// Entries of SETTINGS.
    pub fn settings(&self) -> Vec<(u16, u32)> {
        assert_eq!((self.kind, self.payload.len() % 6), (SETTINGS, 0));
        self.payload
            .chunks(6)
            .map(|e| (u16::from_be_bytes([e[0], e[1]]), u32::from_be_bytes([e[2], e[3], e[4], e[5]])))
            .collect()
    }
}

/// Takes whole frames off the front of `octets`.
pub fn parse(octets: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = 0;
    while octets.len() - at >= 9 {
        let head = &octets[at..at + 9];
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if octets.len() - at < 9 + length {
            break;
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        assert_eq!(id >> 31, 0, "the reserved bit is sent as 0 (§4.1)");
        frames.push(Frame {
            kind: head[3],
            flags: head[4],
            id,
            payload: octets[at + 9..at + 9 + length].to_vec(),
        });
        at += 9 + length;
    }
    octets.drain(..at);
    frames
}

/// A frame of any type.
pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = header(payload.len(), kind, flags, id);
    out.extend_from_slice(payload);
    out
}

/// The nine octets before a payload.
pub fn header(length: usize, kind: u8, flags: u8, id: u32) -> Vec<u8> {
    let mut out = (length as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out
}

/// A payload between its Pad Length octet and `pad` octets of padding.
pub fn padded(payload: &[u8], pad: u8) -> Vec<u8> {
    let mut out = vec![pad];
    out.extend_from_slice(payload);
    out.resize(out.len() + usize::from(pad), 0);
    out
}

pub fn data(id: u32, payload: &[u8], flags: u8) -> Vec<u8> {
    frame(DATA, flags, id, payload)
}

pub fn padded_data(id: u32, payload: &[u8], pad: u8, flags: u8) -> Vec<u8> {
    frame(DATA, flags | PADDED, id, &padded(payload, pad))
}

/// HEADERS with a whole block.
pub fn headers(id: u32, block: &[u8], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, id, block)
}

/// HEADERS with the beginning of a block.
pub fn headers_open(id: u32, block: &[u8], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, id, block)
}

pub fn continuation(id: u32, block: &[u8], flags: u8) -> Vec<u8> {
    frame(CONTINUATION, flags, id, block)
}

pub fn priority(id: u32, dependency: u32, weight: u8) -> Vec<u8> {
    let mut payload = dependency.to_be_bytes().to_vec();
    payload.push(weight);
    frame(PRIORITY, NONE, id, &payload)
}

pub fn rst(id: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, NONE, id, &code.0.to_be_bytes())
}

pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in entries {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, NONE, 0, &payload)
}

pub fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub fn push_promise(id: u32, promised: u32, block: &[u8]) -> Vec<u8> {
    let mut payload = promised.to_be_bytes().to_vec();
    payload.extend_from_slice(block);
    frame(PUSH_PROMISE, END_HEADERS, id, &payload)
}

pub fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, NONE, 0, &payload)
}

pub fn ping_ack(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, ACK, 0, &payload)
}

pub fn goaway(last: u32, code: ErrorCode, debug: &[u8]) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(debug);
    frame(GOAWAY, NONE, 0, &payload)
}

pub fn window_update(id: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, NONE, id, &increment.to_be_bytes())
}

pub fn priority_update(prioritized: u32, value: &str) -> Vec<u8> {
    let mut payload = prioritized.to_be_bytes().to_vec();
    payload.extend_from_slice(value.as_bytes());
    frame(PRIORITY_UPDATE, NONE, 0, &payload)
}

pub fn altsvc(id: u32, origin: &str, value: &str) -> Vec<u8> {
    let mut payload = (origin.len() as u16).to_be_bytes().to_vec();
    payload.extend_from_slice(origin.as_bytes());
    payload.extend_from_slice(value.as_bytes());
    frame(ALTSVC, NONE, id, &payload)
}

pub fn origin(origins: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for origin in origins {
        payload.extend_from_slice(&(origin.len() as u16).to_be_bytes());
        payload.extend_from_slice(origin.as_bytes());
    }
    frame(ORIGIN, NONE, 0, &payload)
}

pub fn unknown(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind, flags, id, payload)
}
