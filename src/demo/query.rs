//! Query parameters and quantities with suffixes. Decodes no percent signs: no parameter here needs one.

/// The query of a request target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Takes what stands behind the question mark.
    pub(super) fn new(query: &'a str) -> Self {
        Self(query)
    }

    /// The first value of `name`; one without `=` is empty.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The quantity `name`, or `default` where it is not given.
    ///
    /// # Errors
    /// One sentence that names the parameter.
    pub(super) fn quantity(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => quantity(text).ok_or_else(|| {
                format!("{name} is a whole number, with k or M behind it for thousands or millions")
            }),
        }
    }
}

/// A whole number, `k` and `M` standing for a thousand and a million.
pub(super) fn quantity(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    whole(digits)?.checked_mul(unit)
}

/// Digits and nothing else (`str::parse` would take a plus sign).
pub(super) fn whole(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_take_two_suffixes() {
        assert_eq!(quantity("0"), Some(0));
        assert_eq!(quantity("10"), Some(10));
        assert_eq!(quantity("3k"), Some(3_000));
        assert_eq!(quantity("2M"), Some(2_000_000));
        for text in
            ["", "k", "1K", "-1", "+1", "1.5", "1kk", "99999999999999999999", "18446744073709551615k", "é"]
        {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let query = Query::new("rate=1k&bytes&rate=2");
        assert_eq!(query.get("rate"), Some("1k"));
        assert_eq!(query.get("bytes"), Some(""));
        assert_eq!(query.get("byte"), None);
        assert_eq!(query.quantity("size", 7), Ok(7));
        assert!(query.quantity("bytes", 7).unwrap_err().starts_with("bytes is"));
    }
}
