//! What the system lets this process have: file descriptors, and so sessions.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most sessions, however many descriptors there are.
const MOST_SESSIONS: u64 = 20_000;

/// Raises the soft limit on descriptors to the hard one and says how many sessions that is good for.
pub(crate) fn raise_and_count_sessions() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    sessions(getrlimit(Resource::Nofile).current)
}

/// min(20 000, 0.9 x descriptors); no limit is `None`.
fn sessions(descriptors: Option<u64>) -> usize {
    let share = descriptors.map_or(MOST_SESSIONS, |descriptors| descriptors - descriptors.div_ceil(10));
    share.clamp(1, MOST_SESSIONS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_descriptors_is_left_for_the_rest() {
        assert_eq!(sessions(Some(1_024)), 921);
        assert_eq!(sessions(Some(22_222)), 19_999);
        assert_eq!(sessions(Some(u64::MAX)), 20_000);
        assert_eq!(sessions(Some(0)), 1);
        assert_eq!(sessions(None), 20_000);
    }
}
