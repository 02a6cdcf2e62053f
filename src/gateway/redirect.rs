//! Where a redirect sends a client (RFC 9110 §15.4, §10.2.2): always to a whole URL, so that no path can be taken for a
//! host.

use stagedoor_actors::{Body, Response};
use stagedoor_protocol::RequestHead;

use super::host;
use super::path;
use super::pattern::Spans;
use super::template::Template;
use crate::config::Redirect;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    scheme: Option<String>,
    host: Option<String>,
    path: Option<Template>,
    status: u16,
}

impl Elsewhere {
    /// Of a route, its path read already.
    pub(super) fn new(redirect: &Redirect, path: Option<Template>) -> Self {
        Self { scheme: redirect.scheme.clone(), host: redirect.host.clone(), path, status: redirect.status }
    }

    /// The answer to the request with this `head`, which came over TLS or did not; `None` where it names no host to go
    /// to.
    pub(super) fn answer(&self, head: &RequestHead, encrypted: bool, spans: &Spans) -> Option<Response> {
        let came_by = if encrypted { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(came_by);
        let authority = head.authority().unwrap_or_default();
        let known;
        let host = match &self.host {
            Some(host) => host,
            // Another scheme has another port.
            None if scheme != came_by => {
                known = host::of(authority)?;
                &*known
            }
            None => {
                host::of(authority)?;
                authority
            }
        };
        let target = head.path().unwrap_or("/");
        let query = path::query_of(target);
        let to = match &self.path {
            None => target.to_owned(),
            Some(template) => {
                let canonical = path::canonical(path::without_query(target.as_bytes()));
                template.fill(&canonical, spans, query)
            }
        };
        let slash = if to.starts_with('/') { "" } else { "/" };
        let location = format!("{scheme}://{host}{slash}{to}");
        let body = format!("see {location}\n");
        Some(
            Response::new(self.status)
                .with_field("location", location)
                .with_field("content-type", "text/plain; charset=utf-8")
                .with_field("x-content-type-options", "nosniff")
                .with_body(Body::Full(body.into())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::pattern::{Pattern, Tree};

    fn redirect(scheme: Option<&str>, host: Option<&str>) -> Redirect {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Redirect { scheme: own(scheme), host: own(host), path: None, status: 308 }
    }

    fn location(redirect: &Redirect, encrypted: bool, authority: &str, target: &str) -> Option<String> {
        let head = RequestHead::new("GET", "http", authority, target);
        let answer = Elsewhere::new(redirect, None).answer(&head, encrypted, &Spans::default())?;
        assert_eq!(answer.status, 308);
        answer.fields.get_str("location").map(str::to_owned)
    }

    #[test]
    fn what_is_not_named_stays_and_a_port_goes_with_its_scheme() {
        let https = redirect(Some("https"), None);
        let to = |redirect: &Redirect, encrypted, authority, target| {
            location(redirect, encrypted, authority, target).unwrap()
        };
        assert_eq!(to(&https, false, "a.example:8080", "/x?q=1"), "https://a.example/x?q=1");
        assert_eq!(to(&https, false, "[::1]:8080", "/"), "https://[::1]/");
        assert_eq!(to(&https, true, "a.example:8443", "/"), "https://a.example:8443/", "the scheme stays");
        let host = redirect(None, Some("b.example:444"));
        assert_eq!(
            to(&host, true, "a.example:8443", "//evil.example/"),
            "https://b.example:444//evil.example/"
        );
        assert_eq!(location(&https, false, "", "/"), None);
        assert_eq!(location(&https, false, "user@evil", "/"), None);
    }

    #[test]
    fn a_path_is_filled_in_and_the_query_kept() {
        let pattern = Pattern::parse("/old/{id}").unwrap();
        let template = Template::parse("/new/{id}/", &pattern.names).unwrap();
        let mut tree = Tree::default();
        tree.insert(Some(&pattern), ());
        let head = RequestHead::new("GET", "https", "a.example", "/old/7?x");
        let spans = tree.visit(Some(b"/old/7"), &mut |(), spans| Some(*spans)).unwrap();
        let answer =
            Elsewhere::new(&redirect(None, None), Some(template)).answer(&head, true, &spans).unwrap();
        assert_eq!(answer.fields.get_str("location"), Some("https://a.example/new/7/?x"));
    }
}
