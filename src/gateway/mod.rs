//! Routes: which requests go where, and what is done to them on the way.
