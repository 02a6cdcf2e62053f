//! Queries of admin requests: names and values, percent signs and plus signs decoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The parameters of a request, in order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// What stands behind the question mark. Octets that are no UTF-8 become U+FFFD.
    pub(super) fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            let spaced: Cow<'_, str> =
                if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A parameter that is not among `known`.
    pub(super) fn stranger(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| &**name).find(|name| !known.contains(name))
    }

    /// Whether a switch is on: `now`, `now=true`, `now=1`.
    /// # Errors
    /// The value, where it is none of these and not their opposites.
    pub(super) fn switch(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("" | "true" | "1" | "yes") => Ok(true),
            Some(other) => Err(format!("{name} is true or false, not {other:?}")),
        }
    }

    /// A whole number from `least` to `most`; `default` where it is not given.
    /// # Errors
    /// A sentence about it.
    pub(super) fn number(
        &self,
        name: &str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, String> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("{name} is a whole number from {least} to {most}, not {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_counts() {
        let query = Query::parse("filter=age+%3E%205m&filter=x&now&limit=5&bad=%zz%ff");
        assert_eq!(query.get("filter"), Some("age > 5m"));
        assert_eq!(query.switch("now"), Ok(true));
        assert_eq!(query.switch("absent"), Ok(false));
        assert_eq!(query.number("limit", 1, 1, 10), Ok(5));
        assert_eq!(query.number("offset", 7, 0, 10), Ok(7));
        assert_eq!(query.get("bad"), Some("%zz\u{fffd}"));
        assert_eq!(query.stranger(&["filter", "now", "limit"]), Some("bad"));
        assert!(Query::parse("now=maybe").switch("now").is_err());
        assert!(Query::parse("limit=-1").number("limit", 1, 1, 10).is_err());
    }
}
