//! What the system lets this process have: file descriptors, and so sessions; and memory, where a container says how much.

use std::fs;

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

/// Nine tenths of the memory that the control group of this process may have (cgroups(7), version 2), where it has a limit.
/// The kernel ends a process that asks for more, and every session with it.
pub(crate) fn resident_limit() -> Option<u64> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/').to_owned();
    // Inside of a container its own group is the root of what is seen.
    let limit = [format!("/sys/fs/cgroup{path}/memory.max"), "/sys/fs/cgroup/memory.max".to_owned()]
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())?;
    share_of(&limit)
}

fn share_of(limit: &str) -> Option<u64> {
    let octets: u64 = limit.trim().parse().ok().filter(|octets| *octets > 0)?;
    Some(octets - octets.div_ceil(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_limit_has_none() {
        assert_eq!(share_of("1073741824\n"), Some(966_367_641));
        assert_eq!(share_of("max\n"), None);
        assert_eq!(share_of("0"), None);
    }

    #[test]
    fn a_tenth_of_the_descriptors_is_left_for_the_rest() {
        assert_eq!(sessions(Some(1_024)), 921);
        assert_eq!(sessions(Some(22_222)), 19_999);
        assert_eq!(sessions(Some(u64::MAX)), 20_000);
        assert_eq!(sessions(Some(0)), 1);
        assert_eq!(sessions(None), 20_000);
    }
}
