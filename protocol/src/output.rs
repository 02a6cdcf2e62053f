//! Octets on their way to the socket: small frames in one run of bytes, large payloads as shared segments.
//!
//! Does no framing. Invariant: `len()` is what [`Output::slices`] would hand out in all.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Payloads up to this many octets are copied beside their header; larger ones go as segments of their own
/// (measured: docs/performance.md).
pub(crate) const COPY_LIMIT: usize = 2048;

#[derive(Debug)]
enum Segment {
    /// So many octets of `run`.
    Run(usize),
    Shared(Bytes),
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Copied octets, those before `run_start` are gone.
    run: Vec<u8>,
    run_start: usize,
    /// What comes before the open end of `run`, in order.
    segments: VecDeque<Segment>,
    /// Octets of `run` that `segments` accounts for.
    run_listed: usize,
    shared_len: usize,
}

impl Output {
    /// The open end: whatever is appended is sent.
    #[inline]
    pub(crate) fn run(&mut self) -> &mut Vec<u8> {
        &mut self.run
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.run.len() - self.run_start + self.shared_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a payload: copied when small, shared when large.
    #[inline]
    pub(crate) fn payload(&mut self, payload: Bytes) {
        if payload.len() <= COPY_LIMIT {
            self.run.extend_from_slice(&payload);
            return;
        }
        let open = self.run.len() - self.run_start - self.run_listed;
        if open > 0 {
            self.segments.push_back(Segment::Run(open));
            self.run_listed += open;
        }
        self.shared_len += payload.len();
        self.segments.push_back(Segment::Shared(payload));
    }

    pub(crate) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.run_start;
        for segment in &self.segments {
            if filled == out.len() {
                return filled;
            }
            out[filled] = match segment {
                Segment::Run(len) => {
                    at += len;
                    IoSlice::new(&self.run[at - len..at])
                }
                Segment::Shared(bytes) => IoSlice::new(bytes),
            };
            filled += 1;
        }
        if filled < out.len() && at < self.run.len() {
            out[filled] = IoSlice::new(&self.run[at..]);
            filled += 1;
        }
        filled
    }

    /// The socket took `count` octets, at most `len()`.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while count > 0 {
            match self.segments.front_mut() {
                Some(Segment::Run(len)) => {
                    let step = count.min(*len);
                    *len -= step;
                    self.run_start += step;
                    self.run_listed -= step;
                    count -= step;
                    if *len == 0 {
                        self.segments.pop_front();
                    }
                }
                Some(Segment::Shared(bytes)) => {
                    let step = count.min(bytes.len());
                    bytes::Buf::advance(bytes, step);
                    self.shared_len -= step;
                    count -= step;
                    if bytes.is_empty() {
                        self.segments.pop_front();
                    }
                }
                None => {
                    self.run_start = (self.run_start + count).min(self.run.len());
                    count = 0;
                }
            }
        }
        if self.run_start == self.run.len() {
            self.run.clear();
            self.run_start = 0;
        } else if self.run_start >= 32 << 10 {
            // A peer that is always a little behind must not make the run grow for ever.
            self.run.drain(..self.run_start);
            self.run_start = 0;
        }
    }

    /// Heap held, used or not.
    pub(crate) fn heap(&self) -> usize {
        self.run.capacity() + self.shared_len
    }

    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = output.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn order_is_kept_whatever_the_steps() {
        for step in [1, 7, 2048, 2049, 5000, 1 << 20] {
            let mut output = Output::default();
            let mut sent = Vec::new();
            let mut expected = Vec::new();
            for size in [9, COPY_LIMIT, COPY_LIMIT + 1, 0, 3, 10_000, 1] {
                let payload: Vec<u8> = (0..size).map(|i| (i * 31 + size) as u8).collect();
                output.run().extend_from_slice(b"head");
                output.payload(Bytes::from(payload.clone()));
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&payload);
                let now = all(&output);
                assert_eq!(now.len(), output.len());
                let take = step.min(now.len());
                sent.extend_from_slice(&now[..take]);
                output.advance(take);
            }
            sent.extend(all(&output));
            output.advance(output.len());
            assert!(output.is_empty() && sent == expected, "step {step}");
        }
    }
}
