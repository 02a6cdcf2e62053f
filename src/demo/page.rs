//! `/`: one self-contained page. Its inline style and script are named in the content security policy by
//! their digests, so nothing else on it can run.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use stagedoor_actors::{Body, Response};

const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<String> = LazyLock::new(|| policy_of(PAGE));

/// Answers `GET /`.
pub(super) fn page() -> Response {
    Response::new(200)
        .with_field("content-type", "text/html; charset=utf-8")
        .with_field("content-security-policy", POLICY.as_str())
        .with_field("x-content-type-options", "nosniff")
        .with_field("referrer-policy", "no-referrer")
        .with_field("cache-control", "no-cache")
        .with_body(Body::Full(Bytes::from_static(PAGE.as_bytes())))
}

/// A policy under which a page's own inline style and script run, and nothing else does.
fn policy_of(page: &str) -> String {
    let source = |tag| digest_source(inside(page, tag));
    format!(
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; style-src {}; script-src {}",
        source("style"),
        source("script"),
    )
}

/// What stands between the only `<tag>` and its end.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap_or_default();
    rest.split_once(&format!("</{tag}>")).map_or("", |(text, _)| text)
}

/// A hash source of CSP: `'sha256-'` and the digest in base 64.
fn digest_source(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut source = String::from("'sha256-");
    for group in digest.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, place| bits << 8 | u32::from(*group.get(place).unwrap_or(&0)));
        for place in 0..4 {
            let digit = char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
            source.push(if place <= group.len() { digit } else { '=' });
        }
    }
    source.push('\'');
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_base_64() {
        // printf %s "" | openssl dgst -sha256 -binary | openssl base64
        assert_eq!(digest_source(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }

    #[test]
    fn the_page_has_one_style_one_script_and_nothing_from_elsewhere() {
        for tag in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1);
            assert!(!inside(PAGE, tag).is_empty());
        }
        for foreign in ["http://", "https://", " style=", " onclick=", "innerHTML"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn every_linked_path_is_answered() {
        for (place, _) in PAGE.match_indices("href=\"/") {
            let target = PAGE[place + 6..].split('"').next().unwrap();
            let path = target.split('?').next().unwrap();
            assert!(super::super::Place::find(path.as_bytes()).is_some(), "{path}");
        }
    }
}
