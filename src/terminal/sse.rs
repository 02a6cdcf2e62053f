//! Reads `text/event-stream` (WHATWG HTML §9.2) out of octets as they come.
//!
//! Reconnects nothing and keeps no `id` or `retry`: whoever reads asks again. Invariants: where the octets are cut does not
//! matter; an event that is not finished is never given out; no more than [`LIMIT`] octets are kept of an event.

use std::collections::VecDeque;

/// Octets of one event, of all its lines, that are kept.
const LIMIT: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the stream names none.
    pub(super) name: String,
    pub(super) data: String,
}

/// An event that is longer than anything a gateway says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {0} octets")]
pub(super) struct TooLong(usize);

/// See the module.
pub(super) struct Reader {
    limit: usize,
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    /// The last octet was CR: a LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet: it may begin with a byte order mark.
    at_start: bool,
    ready: VecDeque<Event>,
}

impl Reader {
    /// A reader at the beginning of a stream.
    pub(super) fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: String::new(),
            data: String::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
            ready: VecDeque::new(),
        }
    }

    /// Takes what came.
    ///
    /// # Errors
    /// [`TooLong`]; nothing after it can be read.
    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), TooLong> {
        let mut rest = octets;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|octet| matches!(octet, b'\n' | b'\r'));
            let piece = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + self.data.len() + piece.len() > self.limit {
                return Err(TooLong(self.limit));
            }
            self.line.extend_from_slice(piece);
            let Some(end) = end else { return Ok(()) };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_line();
        }
        Ok(())
    }

    /// The next event that is whole.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line);
        if std::mem::take(&mut self.at_start)
            && let Some(text) = line.strip_prefix('\u{feff}')
        {
            line = text.to_owned().into();
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (&*line, ""),
        };
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments have no name before the colon; `id` and `retry` are for those who reconnect by them.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            let name = if name.is_empty() { "message".to_owned() } else { name };
            self.ready.push_back(Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    fn read(octets: &[u8], pieces: usize) -> Vec<Event> {
        let mut reader = Reader::new();
        let mut events = Vec::new();
        for piece in octets.chunks(pieces) {
            reader.push(piece).unwrap();
            events.extend(std::iter::from_fn(|| reader.next()));
        }
        events
    }

    #[test]
    fn where_octets_are_cut_does_not_matter() {
        let stream = "\u{feff}event: frame\ndata: {\"a\":\"ä\"}\n\n: a comment\r\n\r\ndata:one\rdata: two\r\r\
                      id: 7\nretry: 1\nevent:overview\r\ndata\r\ndata:  x\r\n\r\nevent: nothing\n\ndata: last\n\n";
        let expected = [
            event("frame", "{\"a\":\"ä\"}"),
            event("message", "one\ntwo"),
            event("overview", "\n x"),
            event("message", "last"),
        ];
        for pieces in [1, 2, 3, 7, 10_000] {
            assert_eq!(read(stream.as_bytes(), pieces), expected, "pieces of {pieces}");
        }
    }

    #[test]
    fn what_is_not_finished_is_no_event() {
        assert_eq!(read(b"data: whole\n\ndata: half\n", 5), [event("message", "whole")]);
        assert_eq!(read(b"data: half", 5), []);
    }

    #[test]
    fn octets_that_are_no_utf_8_do_not_end_it() {
        assert_eq!(read(b"data: \xff\n\n", 1), [event("message", "\u{fffd}")]);
    }

    #[test]
    fn an_event_has_a_longest_length_however_it_is_made() {
        let mut reader = Reader::with_limit(16);
        assert_eq!(reader.push(b"data:0123456789\n\n"), Ok(()));
        assert_eq!(reader.next().unwrap().data, "0123456789");
        assert_eq!(reader.push(&[b'x'; 16]), Ok(()));
        assert_eq!(reader.push(b"x"), Err(TooLong(16)));
        let mut reader = Reader::with_limit(16);
        assert_eq!(reader.push(b"data:01234567\n"), Ok(()));
        assert_eq!(reader.push(b"data:0123\n"), Err(TooLong(16)));
    }

    #[test]
    fn whatever_comes_is_read_without_a_panic() {
        // A linear congruential generator: the same octets each time.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        const SIGNS: &[u8] = b"event data:\n\r \xef\xbb\xbf";
        for _ in 0..300 {
            let octets: Vec<u8> = (0..100).map(|_| SIGNS[usize::from(next()) % SIGNS.len()]).collect();
            assert_eq!(read(&octets, 1), read(&octets, 100));
        }
    }
}
