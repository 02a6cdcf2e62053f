//! Which format a scraper gets, from its `Accept` (RFC 9110 §12.5.1).
//!
//! Invariant: there is always an answer. Who accepts neither format gets text 0.0.4 all the same, because
//! a person with a browser or a script is better served by it than by 406.

use super::Format;

/// The format for a request with this `Accept` header; several are joined by commas first. The higher
/// weight wins, a tie and no preference at all go to text 0.0.4.
///
/// ```
/// use stagedoor_metrics::{Format, negotiate};
///
/// let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
/// assert_eq!(negotiate(Some(prometheus)), Format::OpenMetrics);
/// assert_eq!(negotiate(None), Format::Text);
/// ```
#[must_use]
pub fn negotiate(accept: Option<&str>) -> Format {
    let ranges: Vec<_> = accept.unwrap_or("").split(',').filter_map(Range::parse).collect();
    let weight = |format| {
        // Of the ranges that match, the most specific decides; of equals, the best.
        let matching = ranges.iter().filter_map(|range| Some((range.specificity(format)?, range.weight)));
        matching.max().map_or(0, |(_, weight)| weight)
    };
    if weight(Format::OpenMetrics) > weight(Format::Text) { Format::OpenMetrics } else { Format::Text }
}

/// A media range with what matters of its parameters.
struct Range<'a> {
    kind: &'a str,
    subkind: &'a str,
    version: Option<&'a str>,
    /// In thousandths; 0 means not acceptable.
    weight: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range: it then says nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = parts.next()?.split_once('/')?;
        let mut range = Self { kind, subkind, version: None, weight: 1_000 };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => range.weight = weight(value)?,
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                // `charset`, `escaping`: what we write is UTF-8 and needs no escapes.
                _ => {}
            }
        }
        Some(range)
    }

    /// How specific the range is about a format; `None` if it does not match.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (kind, subkind, version) = match format {
            Format::Text => ("text", "plain", "0.0.4"),
            Format::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        };
        if self.kind == "*" {
            return (self.subkind == "*").then_some(0);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        if self.subkind == "*" {
            return Some(1);
        }
        if !self.subkind.eq_ignore_ascii_case(subkind) {
            return None;
        }
        match self.version {
            None => Some(2),
            Some(wanted) => (wanted == version).then_some(3),
        }
    }
}

/// A weight of `0` to `1` with at most three decimals, in thousandths.
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1")
        || decimals.len() > 3
        || !decimals.bytes().all(|octet| octet.is_ascii_digit())
    {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,\
         application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
         application/openmetrics-text;version=0.0.1;q=0.5,\
         text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    /// With `scrape_protocols: [PrometheusText0.0.4, OpenMetricsText1.0.0]`.
    const PROMETHEUS_3_TEXT_FIRST: &str = "text/plain;version=0.0.4;q=0.6,\
         application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.4";
    const CHROME: &str =
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

    #[test]
    fn prometheus_gets_what_it_likes_best() {
        assert_eq!(negotiate(Some(PROMETHEUS_2_42)), Format::OpenMetrics);
        assert_eq!(negotiate(Some(PROMETHEUS_3)), Format::OpenMetrics);
        assert_eq!(negotiate(Some(PROMETHEUS_3_TEXT_FIRST)), Format::Text);
    }

    #[test]
    fn no_preference_is_text() {
        for accept in
            [None, Some(""), Some("*/*"), Some(CHROME), Some("text/*"), Some("nonsense"), Some(",,;q=1")]
        {
            assert_eq!(negotiate(accept), Format::Text, "{accept:?}");
        }
        assert_eq!(negotiate(Some("application/openmetrics-text, text/plain")), Format::Text);
    }

    #[test]
    fn the_higher_weight_wins_whatever_the_order() {
        for (accept, wanted) in [
            ("text/plain;q=0.5, application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.501", Format::Text),
            ("text/plain; q=0.5, APPLICATION/OpenMetrics-Text; Q=0.6", Format::OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0\"", Format::OpenMetrics),
            ("application/*", Format::OpenMetrics),
        ] {
            assert_eq!(negotiate(Some(accept)), wanted, "{accept}");
        }
    }

    #[test]
    fn another_version_is_another_format() {
        assert_eq!(negotiate(Some("application/openmetrics-text;version=0.0.1")), Format::Text);
        assert_eq!(
            negotiate(Some("text/plain;version=1.0.0, application/openmetrics-text;q=0.1")),
            Format::OpenMetrics
        );
    }

    #[test]
    fn the_most_specific_range_decides_and_zero_excludes() {
        for (accept, wanted) in [
            ("text/plain;q=0, */*", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, */*;q=0.1", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text, */*;q=0",
                Format::Text,
            ),
            ("text/*;q=0.2, text/plain;q=0.9, application/openmetrics-text;q=0.5", Format::Text),
            // Nothing acceptable is no reason to send nothing.
            ("text/plain;q=0, application/openmetrics-text;q=0", Format::Text),
            ("image/png", Format::Text),
            // A weight that is none takes its range out.
            ("application/openmetrics-text;q=2, text/plain;q=0.1", Format::Text),
        ] {
            assert_eq!(negotiate(Some(accept)), wanted, "{accept}");
        }
    }
}
