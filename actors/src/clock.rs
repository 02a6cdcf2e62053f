//! The clock of an arbiter, read once a turn, and the `date` text that follows it.
//! No other module of the actors asks the system for the time.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time now. Through tokio, so that a test which pauses the runtime's clock pauses this one too.
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Date {
    text: String,
    /// The second after the one `text` shows begins here.
    until: Option<Instant>,
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { text: String::new(), until: None }) };
}

/// Gives `use_it` the value of a `date` field (RFC 9110 §6.6.1) for the turn at `now`; made once a second.
pub(crate) fn with_date<R>(now: Instant, use_it: impl FnOnce(&[u8]) -> R) -> R {
    DATE.with_borrow_mut(|date| {
        if date.until.is_none_or(|until| now >= until) {
            let wall = SystemTime::now();
            let into = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            date.text = httpdate::fmt_http_date(wall);
            date.until = Some(now + (Duration::from_secs(1) - Duration::from_nanos(u64::from(into))));
        }
        use_it(date.text.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_made_anew_when_its_second_is_over() {
        let start = now();
        let first = with_date(start, <[u8]>::to_vec);
        assert_eq!(first.len(), 29, "IMF-fixdate has 29 octets");
        DATE.with_borrow_mut(|date| date.text = "old".into());
        assert_eq!(with_date(start, <[u8]>::to_vec), b"old");
        assert_eq!(with_date(start + Duration::from_secs(1), <[u8]>::to_vec).len(), 29);
    }
}
