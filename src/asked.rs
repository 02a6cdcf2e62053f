//! [`Asked`]: what `Service::route` found of a request, kept for `Service::call`, which is asked of the same one next.
//!
//! Invariant: nothing is given out for another request than it was found for. A head is known by where its octets lie, which
//! moves with it, and every request is routed before it is called.

use std::cell::Cell;

use stagedoor_protocol::RequestHead;

/// See the module.
pub(crate) struct Asked<T>(Cell<Option<(usize, T)>>);

impl<T> Asked<T> {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Keeps what was found of a request, in place of what there was.
    pub(crate) fn keep(&self, head: &RequestHead, found: T) {
        self.0.set(Some((place_of(head), found)));
    }

    /// What was found of this request.
    pub(crate) fn take(&self, head: &RequestHead) -> Option<T> {
        self.0.take().filter(|(place, _)| *place == place_of(head)).map(|(_, found)| found)
    }
}

fn place_of(head: &RequestHead) -> usize {
    head.method_octets().as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_given_out_once_and_for_its_own_request() {
        let (one, other) = (RequestHead::connect("one:1"), RequestHead::connect("other:1"));
        let asked = Asked::new();
        asked.keep(&one, 1);
        assert_eq!(asked.take(&other), None);
        assert_eq!(asked.take(&one), None, "it is not kept for later");
        asked.keep(&one, 2);
        let moved = one;
        assert_eq!((asked.take(&moved), asked.take(&moved)), (Some(2), None));
    }
}
