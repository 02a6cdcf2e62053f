//! Which fields are nobody's business: their values are left out of logs and taps. Changes no message.

/// Stands where a value was left out.
pub const REDACTED: &str = "[redacted]";

/// Fields that carry credentials.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "set-cookie", "proxy-authorization"];

/// Names of fields whose values are not shown; case does not matter. The default: fields that carry credentials.
///
/// ```
/// use stagedoor_actors::Redact;
/// use stagedoor_actors::redact::REDACTED;
///
/// let redact = Redact::default().and("X-Key");
/// assert!(redact.hides(b"authorization") && redact.hides(b"x-key"));
/// assert_eq!(redact.shown(b"x-key", b"7"), REDACTED.as_bytes());
/// assert_eq!(redact.shown(b"accept", b"*/*"), b"*/*");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redact {
    /// Lower case.
    names: Vec<Box<str>>,
}

impl Redact {
    /// These names alone.
    pub fn these<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into()).collect();
        Self { names }
    }

    /// The same with one more.
    #[must_use]
    pub fn and(mut self, name: &str) -> Self {
        self.names.push(name.to_ascii_lowercase().into());
        self
    }

    /// The value of the field `name` is not shown.
    #[must_use]
    pub fn hides(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// What is shown of a field.
    #[must_use]
    pub fn shown<'a>(&self, name: &[u8], value: &'a [u8]) -> &'a [u8] {
        if self.hides(name) { REDACTED.as_bytes() } else { value }
    }
}

impl Default for Redact {
    fn default() -> Self {
        Self::these(CREDENTIALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_without_a_word() {
        let redact = Redact::default();
        for name in ["authorization", "Authorization", "cookie", "SET-COOKIE", "proxy-authorization"] {
            assert_eq!(redact.shown(name.as_bytes(), b"secret"), REDACTED.as_bytes(), "{name}");
        }
        assert_eq!(redact.shown(b"user-agent", b"me"), b"me");
        assert!(redact.and("User-Agent").hides(b"user-agent"));
    }

    #[test]
    fn a_list_of_ones_own_stands_alone() {
        let redact = Redact::these(["X-Token"]);
        assert!(redact.hides(b"x-token") && !redact.hides(b"cookie"));
    }
}
