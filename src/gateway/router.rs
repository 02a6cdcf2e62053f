//! The router of a listener: which route takes a request.
//!
//! Of all routes whose conditions a request fulfils the first is taken, in this order: by host (written out, then the
//! longest wildcard, then any), by path (see [`super::pattern`]; a route without a path comes last), by the number of
//! other conditions (methods, each header, listeners; more go first), by the order of the file. So a route that does not
//! take a method or lacks a header stands in nobody's way.
//!
//! `GET` takes HEAD too, and extended CONNECT (RFC 8441 §5: what is a GET with an upgrade on HTTP/1.1). Plain CONNECT
//! is taken only by routes that say so, and only by those without a path: it has none.

use std::collections::{BTreeSet, HashMap};

use stagedoor_protocol::RequestHead;

use super::host;
use super::path;
use super::pattern::{Pattern, Spans, Tree};
use crate::config::Match;

/// No name is longer (RFC 1035 §2.3.4); a longer host is nobody's.
const LONGEST_HOST: usize = 255;

/// The methods told where nothing else is known to tell.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What a route wants beside host, path and listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Any where empty.
    methods: Vec<String>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// Plain CONNECT.
    connect: bool,
    /// How many there are.
    count: usize,
}

impl Conditions {
    /// Those of a route that may take plain CONNECT where `connect` says so.
    pub(super) fn new(matches: &Match, connect: bool) -> Self {
        let value = |value: &Option<String>| value.as_ref().map(|value| value.clone().into_bytes());
        Self {
            methods: matches.methods.clone(),
            headers: matches
                .headers
                .iter()
                .map(|header| (header.name.clone(), value(&header.value)))
                .collect(),
            connect,
            count: usize::from(!matches.methods.is_empty())
                + matches.headers.len()
                + usize::from(!matches.listeners.is_empty()),
        }
    }

    fn take_headers(&self, head: &RequestHead) -> bool {
        self.headers.iter().all(|(name, value)| match value {
            Some(wanted) => head.fields().get_all(name).any(|value| value == wanted),
            None => head.fields().contains(name),
        })
    }

    fn take_method(&self, method: &str, kind: Kind) -> bool {
        match kind {
            Kind::Connect if !self.connect => return false,
            _ if self.methods.is_empty() => return true,
            _ => {}
        }
        self.methods.iter().any(|known| {
            known == method || known == "GET" && (method == "HEAD" || kind == Kind::ExtendedConnect)
        })
    }
}

/// What kind of request it is, by its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    Connect,
    ExtendedConnect,
}

impl Kind {
    fn of(head: &RequestHead) -> Self {
        match head.method_octets() {
            b"CONNECT" if head.protocol().is_some() => Self::ExtendedConnect,
            b"CONNECT" => Self::Connect,
            _ => Self::Usual,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This route takes it, its parameters at these places of the canonical path.
    Route(u16, Spans),
    /// `OPTIONS *`: asks the server itself.
    Server,
    /// 404.
    Nothing,
    /// 405, with these methods.
    Method(String),
    /// 421: nothing here is of this host.
    Misdirected,
    /// 400: the authority names no host.
    NoHost,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Router {
    exact: HashMap<Box<str>, Tree<Leaf>>,
    /// By what stands behind `*.`.
    wild: HashMap<Box<str>, Tree<Leaf>>,
    any: Option<Tree<Leaf>>,
}

/// A route at a pattern.
#[derive(Debug)]
struct Leaf {
    route: u16,
    conditions: Conditions,
}

/// A route as a router is made of it.
pub(super) struct Entry<'a> {
    pub(super) route: u16,
    pub(super) hosts: &'a [String],
    pub(super) pattern: Option<&'a Pattern>,
    pub(super) conditions: &'a Conditions,
}

impl Router {
    /// Of routes in the order of the file.
    pub(super) fn new<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // Stable: those with as many conditions stay in order.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.conditions.count));
        let mut router = Self::default();
        for entry in entries {
            let leaf = || Leaf { route: entry.route, conditions: entry.conditions.clone() };
            if entry.hosts.is_empty() {
                router.any.get_or_insert_default().insert(entry.pattern, leaf());
            }
            for name in entry.hosts {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut router.wild, suffix),
                    None => (&mut router.exact, &**name),
                };
                let name = host::named(name).unwrap_or_default();
                map.entry(name.into()).or_default().insert(entry.pattern, leaf());
            }
        }
        router
    }

    /// Who takes the request with this `head`.
    pub(super) fn find(&self, head: &RequestHead) -> Found {
        let path = path::canonical(path::without_query(head.path_octets()));
        self.find_at(head, &path)
    }

    /// The same as if its path were `path`, canonical and without a query.
    pub(super) fn find_at(&self, head: &RequestHead, path: &[u8]) -> Found {
        let authority = head.authority().unwrap_or_default();
        let host = match host::of(authority) {
            Some(host) => host,
            // HTTP/1.0 may name none.
            None if authority.is_empty() => "".into(),
            None => return Found::NoHost,
        };
        let kind = Kind::of(head);
        let path = (kind != Kind::Connect).then_some(path);
        let method = head.method();
        let found = self.trees(&host).find_map(|tree| {
            tree.visit(path, &mut |leaf, spans| {
                let takes = leaf.conditions.take_method(method, kind) && leaf.conditions.take_headers(head);
                takes.then_some(Found::Route(leaf.route, *spans))
            })
        });
        match found {
            Some(found) if path != Some(b"*") => found,
            _ => self.why_not(head, &host, path, kind),
        }
    }

    /// The trees of a host, the most specific first.
    fn trees<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Tree<Leaf>> {
        let fits = host.len() <= LONGEST_HOST;
        let exact = if fits { self.exact.get(host) } else { None };
        let dots = if fits && !self.wild.is_empty() { host } else { "" };
        let wild = dots
            .match_indices('.')
            // One label at least stands for the asterisk.
            .filter(|(at, _)| *at > 0)
            .filter_map(|(at, _)| self.wild.get(dots.get(at + 1..)?));
        exact.into_iter().chain(wild).chain(self.any.as_ref())
    }

    fn why_not(&self, head: &RequestHead, host: &str, path: Option<&[u8]>, kind: Kind) -> Found {
        if kind == Kind::Connect {
            return Found::Method(METHODS.to_owned());
        }
        if self.trees(host).next().is_none() {
            return if self.is_empty() { Found::Nothing } else { Found::Misdirected };
        }
        if path == Some(b"*") {
            return Found::Server;
        }
        // Those who want another method, and nothing else.
        let mut methods = BTreeSet::new();
        for tree in self.trees(host) {
            tree.visit(path, &mut |leaf, _| {
                if leaf.conditions.take_headers(head) {
                    methods.extend(leaf.conditions.methods.iter().map(String::as_str));
                }
                None::<()>
            });
        }
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        match methods.is_empty() {
            true => Found::Nothing,
            false => Found::Method(methods.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty() && self.any.is_none()
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
