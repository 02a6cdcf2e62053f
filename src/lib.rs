//! stagedoor.
