//! stagedoor-actors.
