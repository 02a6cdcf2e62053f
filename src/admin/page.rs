//! The live page: one file, and the policy that lets nothing else run.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use stagedoor_actors::{Body, Response};

const INDEX: &str = include_str!("index.html");

/// The page.
pub(super) fn page() -> Response {
    super::fresh(200, "text/html; charset=utf-8")
        .with_field("content-security-policy", policy())
        .with_field("referrer-policy", "no-referrer")
        .with_body(Body::Full(INDEX.as_bytes().into()))
}

/// Only the page's own style and script, named by their digests, and its own origin to ask (CSP Level 3).
fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let of = |element: &str| {
            let octets = inside(INDEX, element).unwrap_or_default();
            format!("'sha256-{}'", STANDARD.encode(Sha256::digest(octets)))
        };
        format!(
            "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            of("style"),
            of("script")
        )
    })
}

/// What stands inside of the one element of a name.
fn inside<'a>(page: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("<{element}>"))?;
    Some(rest.split_once(&format!("</{element}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_stand_once_and_nothing_comes_from_elsewhere() {
        for element in ["style", "script"] {
            assert_eq!(INDEX.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(inside(INDEX, element).is_some_and(|inside| inside.len() > 100), "{element}");
        }
        for foreign in [" src=", " href=\"http", "@import", "url(http", "innerHTML", " onclick", " style=\""]
        {
            assert!(!INDEX.contains(foreign), "{foreign}");
        }
        assert!(!policy().contains("unsafe"));
    }
}
