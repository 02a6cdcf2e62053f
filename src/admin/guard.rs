//! Who may ask: requests that name this machine, writes that no foreign page sent, and whoever has the token where
//! one is asked for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use stagedoor_protocol::RequestHead;

use super::problem::Problem;

/// A token that every request must carry (RFC 6750 §2.1). Kept as its digest, so that comparing it tells nothing. Clones are
/// one token, which may become another.
#[derive(Clone)]
pub struct Token(Arc<ArcSwap<[u8; 32]>>);

impl Token {
    /// Least length of a token, in octets.
    pub const LEAST: usize = 16;

    /// Takes the first line of a token file.
    /// # Errors
    /// A sentence, where it is too short to be a secret.
    pub fn read(text: &str) -> Result<Self, String> {
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < Self::LEAST {
            return Err(format!("a token has at least {} characters on its first line", Self::LEAST));
        }
        Ok(Self(Arc::new(ArcSwap::from_pointee(digest(token.as_bytes())))))
    }

    /// Every clone is `other`'s from now on.
    pub fn become_another(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    fn is_given(&self, head: &RequestHead) -> bool {
        let given = head.fields().get_str("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        given.is_some_and(|given| digest(given.as_bytes()) == **self.0.load())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

fn digest(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

/// Refuses who does not have the token.
/// # Errors
/// 401.
pub(super) fn check_token(token: Option<&Token>, head: &RequestHead) -> Result<(), Problem> {
    match token {
        Some(token) if !token.is_given(head) => Err(Problem::no_token()),
        _ => Ok(()),
    }
}

/// Refuses what a page of another origin made a browser send: browsers say where a request comes from, others say
/// nothing (Fetch: `origin`, `sec-fetch-site`).
/// # Errors
/// 403.
pub(super) fn check_origin(head: &RequestHead) -> Result<(), Problem> {
    let fields = head.fields();
    if let Some(site) = fields.get("sec-fetch-site")
        && !matches!(site, b"same-origin" | b"none")
    {
        return Err(Problem::foreign_origin());
    }
    let Some(origin) = fields.get("origin") else { return Ok(()) };
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let host = origin.split_once("://").map(|(_, host)| host);
    if host.is_some() && host == head.authority() { Ok(()) } else { Err(Problem::foreign_origin()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new("DELETE", "http", "127.0.0.1:9901", "/api/sessions/0-1");
        for (name, value) in fields {
            head.fields_mut().push(name, value);
        }
        head
    }

    #[test]
    fn a_browser_writes_from_our_own_page_alone() {
        for fields in [
            &[][..],
            &[("origin", "http://127.0.0.1:9901")],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9901")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(check_origin(&head(fields)).is_ok(), "{fields:?}");
        }
        for fields in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:8080")],
            &[("origin", "127.0.0.1:9901")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9901")],
        ] {
            assert!(check_origin(&head(fields)).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn the_token_is_compared_whole() {
        let token = Token::read("0123456789abcdef\nmore\n").unwrap();
        let given = |value: &str| check_token(Some(&token), &head(&[("authorization", value)])).is_ok();
        assert!(given("Bearer 0123456789abcdef") && given("bearer 0123456789abcdef"));
        for value in ["Bearer 0123456789abcde", "Bearer 0123456789abcdefg", "0123456789abcdef", "Basic x", ""]
        {
            assert!(!given(value), "{value}");
        }
        assert!(check_token(Some(&token), &head(&[])).is_err());
        assert!(check_token(None, &head(&[])).is_ok());
        let kept = token.clone();
        kept.become_another(&Token::read("another 0123456789").unwrap());
        assert!(check_token(Some(&token), &head(&[("authorization", "Bearer 0123456789abcdef")])).is_err());
        assert!(check_token(Some(&token), &head(&[("authorization", "Bearer another 0123456789")])).is_ok());
        assert!(Token::read("short\n").is_err());
    }
}
