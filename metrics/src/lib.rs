//! stagedoor-metrics.
