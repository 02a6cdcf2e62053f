//! What an error of `accept` asks for.

use std::io;
use std::time::Duration;

/// The first pause after an error that needs one.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// The longest.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// See [`sort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// That connection failed, not the socket: go on.
    Retry,
    /// The process or the system is out of something: pause, or `accept` spins.
    BackOff,
    /// The socket is of no more use.
    Fatal,
}

// Linux numbers: the kinds of `io::Error` do not tell these apart.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// The process, or the system, has no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Sorts an error of `accept(2)`.
pub(crate) fn sort(error: &io::Error) -> Verdict {
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = 105;
    const EPROTO: i32 = 71;
    const EPERM: i32 = 1;
    const EOPNOTSUPP: i32 = 95;
    match error.raw_os_error() {
        Some(ENOMEM | ENFILE | EMFILE | ENOBUFS) => return Verdict::BackOff,
        // Errors already pending on the new connection come out of accept (accept(2), "Error handling").
        Some(EPROTO | EPERM | EOPNOTSUPP) => return Verdict::Retry,
        _ => {}
    }
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted | K::WouldBlock => {
            Verdict::Retry
        }
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::TimedOut => Verdict::Retry,
        _ => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted() {
        for (number, verdict) in [
            (103, Verdict::Retry),   // ECONNABORTED
            (4, Verdict::Retry),     // EINTR
            (71, Verdict::Retry),    // EPROTO
            (113, Verdict::Retry),   // EHOSTUNREACH
            (24, Verdict::BackOff),  // EMFILE
            (23, Verdict::BackOff),  // ENFILE
            (105, Verdict::BackOff), // ENOBUFS
            (12, Verdict::BackOff),  // ENOMEM
            (9, Verdict::Fatal),     // EBADF
            (22, Verdict::Fatal),    // EINVAL
        ] {
            assert_eq!(sort(&io::Error::from_raw_os_error(number)), verdict, "{number}");
        }
    }
}
