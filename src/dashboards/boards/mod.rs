//! The boards: what is asked first, then what is asked when that looks odd.

mod actors;
mod overview;
mod sessions;
mod upstreams;

use super::board::Board;

/// All of them.
pub(super) fn all() -> [Board; 4] {
    [overview::board(), sessions::board(), actors::board(), upstreams::board()]
}
