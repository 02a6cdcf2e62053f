//! `/metrics`: the format and the coding the scraper takes, within the time it gives.
//!
//! Renders beside the arbiters, where a stuck one cannot hold it up; adds nothing up itself.

use std::time::Duration;

use bytes::Bytes;
use stagedoor_actors::{Body, Reply};
use stagedoor_metrics::negotiate;
use stagedoor_protocol::RequestHead;

use super::problem::Problem;
use super::{Admin, fresh};

/// How long a scrape may take where the scraper does not say.
const PATIENCE: Duration = Duration::from_secs(10);

impl Admin {
    /// `GET /metrics`.
    pub(super) fn scrape(&self, head: &RequestHead) -> Reply {
        let joined = |name| head.fields().joined(name);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let format = negotiate(joined("accept").map(|octets| text(&octets)).as_deref());
        let gzip = joined("accept-encoding").is_some_and(|codings| takes_gzip(&text(&codings)));
        // Whoever scrapes by hand right after a change says so (RFC 9111 §5.2.1.4).
        let anew =
            joined("cache-control").is_some_and(|asked| asked.windows(8).any(|word| word == b"no-cache"));
        let patience = head.fields().get_str("x-prometheus-scrape-timeout-seconds").and_then(seconds);
        let metrics = self.metrics.clone();
        Reply::later(async move {
            let gzip = gzip && !anew;
            let render = tokio::task::spawn_blocking(move || match anew {
                true => metrics.render(format).into(),
                false => metrics.scrape(format, gzip),
            });
            match tokio::time::timeout(patience.unwrap_or(PATIENCE), render).await {
                Ok(Ok(text)) => {
                    let response = fresh(200, format.content_type())
                        .with_field("vary", "accept, accept-encoding")
                        .with_body(Body::full(Bytes::from_owner(text)));
                    if gzip { response.with_field("content-encoding", "gzip") } else { response }
                }
                Ok(Err(error)) => Problem::internal(&error).into_response(),
                Err(_) => Problem::too_slow().into_response(),
            }
        })
    }
}

/// The time a scraper gives; what is no such number says nothing.
fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.trim().parse().ok()?;
    (0.0..=3600.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// Whether a list of codings has gzip with a weight above zero (RFC 9110 §12.5.3).
fn takes_gzip(codings: &str) -> bool {
    let weight = |name: &str| {
        codings.split(',').find_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let found = parts.next()?.eq_ignore_ascii_case(name);
            let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            found.then(|| q.map_or(1.0, |q| q.trim().parse().unwrap_or(0.0)))
        })
    };
    weight("gzip").or(weight("x-gzip")).or(weight("*")).is_some_and(|q: f64| q > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_given_to_those_who_take_it() {
        for codings in ["gzip", "br, GZIP;q=0.5", "*", "deflate, *;q=0.1", "x-gzip"] {
            assert!(takes_gzip(codings), "{codings}");
        }
        for codings in ["", "identity", "gzip;q=0", "br", "gzip;q=0, *", "gzip;q=x"] {
            assert!(!takes_gzip(codings), "{codings}");
        }
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        for value in ["", "-1", "NaN", "inf", "1e9", "soon"] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }
}
