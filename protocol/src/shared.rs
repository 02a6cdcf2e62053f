//! [`SharedHead`]: the head of a request whose values are kept without a copy.
//!
//! Only reads. Invariant: a span that lies outside of the block is empty, never a panic.

use bytes::Bytes;

use crate::fields::{Entry, Field, Span};

/// The head of a request as one block: whoever keeps a value of it keeps the block. What is not there is empty.
///
/// ```
/// use stagedoor_protocol::RequestHead;
///
/// let head = RequestHead::new("GET", "https", "example.org", "/list").share();
/// let path = head.path();
/// drop(head);
/// assert_eq!(path, "/list");
/// ```
#[derive(Clone, Debug)]
pub struct SharedHead {
    pub(crate) block: Bytes,
    pub(crate) index: Vec<Entry>,
    pub(crate) method: Span,
    pub(crate) scheme: Span,
    pub(crate) authority: Span,
    pub(crate) path: Span,
}

impl SharedHead {
    /// Octets of `:method`.
    pub fn method(&self) -> &[u8] {
        self.octets(self.method)
    }

    /// Octets of `:scheme`.
    pub fn scheme(&self) -> &[u8] {
        self.octets(self.scheme)
    }

    /// `:authority`, whatever `host` says.
    pub fn authority(&self) -> Bytes {
        self.block.slice_ref(self.octets(self.authority))
    }

    /// The path with its query.
    pub fn path(&self) -> Bytes {
        self.block.slice_ref(self.octets(self.path))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// There are no fields.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The fields in order, each with its value to keep.
    pub fn fields(&self) -> impl Iterator<Item = (Field<'_>, Bytes)> {
        self.index.iter().map(|entry| {
            let field = entry.field(&self.block);
            let value = self.block.slice_ref(field.value);
            (field, value)
        })
    }

    fn octets(&self, span: Span) -> &[u8] {
        span.of(&self.block)
    }
}
