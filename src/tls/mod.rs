//! Certificates of listeners and trust towards upstreams.
