//! Routes: one action each, names that resolve, patterns that can be told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use stagedoor_protocol::Fields;

use super::super::at::{At, Many};
use super::super::diagnostic::Code;
use super::super::file::{self, File};
use super::super::model::{
    Access, Action, Coding, Compress, ErrorBody, FilesFrom, HeaderEdits, HeaderMatch, Match, ProxyTo,
    RateLimit, Redirect, Respond, Route,
};
use super::super::problem::Problem;
use super::super::source::{NOWHERE, Span};
use super::super::suggest;
use super::super::word::{Block, FieldName, FieldValue, Label, Pattern, Template};
use super::Check;

/// Octets of an error body: it is kept in memory and sent as one.
const MOST_ERROR_BODY: usize = 1 << 20;

const ACTIONS: &str = "proxy, files, redirect, respond, demo";

impl Check<'_> {
    pub(super) fn routes(&mut self, file: &File) -> Vec<Route> {
        let mut names = BTreeSet::new();
        let mut routes: Vec<Route> = Vec::new();
        for (index, written) in file.route.iter().enumerate() {
            let name = self.name("route", index, &written.span, written.name.as_ref(), &mut names);
            let route = self.route(index, name, written, file);
            let twin = routes.iter().find(|other| same(&other.matches, &route.matches));
            if let Some(twin) = twin
                && self.is_whole("route", index)
            {
                let problem = Problem::new(
                    Code::UnreachableRoute,
                    "",
                    format!("route {:?} takes the same requests", twin.name),
                )
                .help("of routes with the same match the first is taken");
                self.warning(&place_of(written), format!("route {:?} is never taken", route.name), problem);
            }
            routes.push(route);
        }
        self.conflicts(file);
        let whole = !self.broken.iter().any(|path| super::tree::written(path).starts_with("route"));
        if file.route.is_empty() && !file.listener.is_empty() && whole {
            let problem = Problem::new(Code::NoRoute, "", "there is no [[route]]");
            self.warning(&NOWHERE, "every request will be answered 404", problem);
        }
        routes
    }

    /// Patterns that the router cannot tell apart, host by host.
    fn conflicts(&mut self, file: &File) {
        let mut routers: BTreeMap<&str, (matchit::Router<()>, BTreeMap<&str, String>)> = BTreeMap::new();
        let mut found = Vec::new();
        for written in &file.route {
            let Some(pattern) = &written.matches.path else { continue };
            let whose = written.name.as_ref().map(|name| name.0.clone()).unwrap_or_default();
            let hosts = written.matches.host.0.iter().map(|host| host.value.0.as_str());
            let any = written.matches.host.0.is_empty().then_some("");
            for host in hosts.chain(any) {
                let (router, patterns) = routers.entry(host).or_default();
                if patterns.contains_key(pattern.0.as_str()) {
                    continue;
                }
                if let Err(matchit::InsertError::Conflict { with }) = router.insert(pattern.0.as_str(), ()) {
                    let other = patterns.get(with.as_str()).cloned().unwrap_or_default();
                    found.push((pattern.span.clone(), whose.clone(), with, other));
                    break;
                }
                patterns.insert(&pattern.0, whose.clone());
            }
        }
        for (span, whose, with, other) in found {
            let problem = Problem::new(Code::PatternConflict, "", format!("route {other:?} has {with:?}"))
                .help("call the parameter the same in both");
            self.error(&span, format!("the pattern of route {whose:?} cannot be told from another"), problem);
        }
    }

    fn route(&mut self, index: usize, name: String, written: &At<file::Route>, file: &File) -> Route {
        let whose = super::whose("route", index, written.name.as_ref());
        let action = self.action(index, &whose, written, file);
        if let (Some(strip), Some(rewrite)) = (&written.strip_prefix, &written.rewrite) {
            let later = if strip.span.start > rewrite.span.start { &strip.span } else { &rewrite.span };
            let problem =
                Problem::new(Code::Conflict, "", "the path is changed twice").help("keep one of both");
            self.error(later, format!("{whose} has both strip_prefix and rewrite"), problem);
        }
        if let Some(rewrite) = &written.rewrite {
            self.parameters(&whose, "rewrite", rewrite, written.matches.path.as_ref());
        }
        if written.connect.value && !matches!(action, Action::Proxy(_)) {
            let problem = Problem::new(Code::Conflict, "", "only `proxy` can send CONNECT on");
            self.error(&written.connect.span, format!("{whose} has connect and sends nothing on"), problem);
        }
        Route {
            matches: self.matches(&whose, written, file),
            strip_prefix: written.strip_prefix.as_ref().map(|prefix| prefix.0.clone()),
            rewrite: written.rewrite.as_ref().map(|path| path.0.clone()),
            request_headers: self.edits(&format!("{whose}: request_headers"), &written.request_headers),
            response_headers: self.edits(&format!("{whose}: response_headers"), &written.response_headers),
            rate_limit: self.rate_limit(index, &whose, written),
            max_body: written.max_body.as_ref().map(|size| size.0),
            timeout: written.timeout.as_ref().map(|time| time.0).filter(|time| *time != Duration::ZERO),
            access: self.access(&whose, written),
            compress: written.compress.as_ref().and_then(|compress| match &compress.value {
                file::Compress::Switch(false) => None,
                file::Compress::Switch(true) => Some(compression(&file::CompressTable::default())),
                file::Compress::Table(table) => Some(compression(table)),
            }),
            errors: self.errors(index, &whose, written),
            connect: written.connect.value,
            action,
            name,
        }
    }

    fn matches(&mut self, whose: &str, written: &file::Route, file: &File) -> Match {
        let matches = &written.matches;
        for listener in &matches.listener.0 {
            let known =
                || file.listener.iter().filter_map(|one| one.name.as_ref()).map(|name| name.0.as_str());
            if !known().any(|name| name == listener.value.0) {
                let problem = Problem::new(Code::UnknownListener, "", "no listener has this name")
                    .help(suggest::help(&listener.value.0, "listeners", known()));
                self.error(&listener.span, format!("{whose} is for a listener that does not exist"), problem);
            }
        }
        let headers = matches.headers.iter().map(|(name, test)| HeaderMatch {
            name: name.0.clone(),
            value: match test {
                file::HeaderTest::Present => None,
                file::HeaderTest::Is(value) => Some(value.0.clone()),
            },
        });
        Match {
            hosts: matches.host.values().into_iter().map(|host| host.0).collect(),
            path: matches.path.as_ref().map(|pattern| pattern.0.clone()),
            methods: matches.methods.values().into_iter().map(|method| method.0).collect(),
            headers: headers.collect(),
            listeners: matches.listener.values().into_iter().map(|name: Label| name.0).collect(),
        }
    }

    fn action(&mut self, index: usize, whose: &str, written: &At<file::Route>, file: &File) -> Action {
        let actions = [
            ("proxy", written.proxy.as_ref().map(|one| &one.span)),
            ("files", written.files.as_ref().map(|one| &one.span)),
            ("redirect", written.redirect.as_ref().map(|one| &one.span)),
            ("respond", written.respond.as_ref().map(|one| &one.span)),
            ("demo", written.demo.as_ref().map(|one| &one.span)),
        ];
        let mut there: Vec<(&str, &Span)> =
            actions.into_iter().filter_map(|(name, span)| Some((name, span?))).collect();
        there.sort_by_key(|(_, span)| span.start);
        if let [(first, _), (second, span), ..] = there.as_slice() {
            let problem = Problem::new(Code::SeveralActions, "", format!("{first} stands there already"))
                .help(format!("a route has one of {ACTIONS}"));
            self.error(span, format!("{whose} does two things: {first} and {second}"), problem);
        }
        if there.is_empty() && self.is_whole("route", index) {
            let problem = Problem::new(Code::NoAction, "", "nothing is done here")
                .help(format!("a route has one of {ACTIONS}"));
            self.error(&place_of(written), format!("{whose} does nothing"), problem);
        }
        // All of them are looked at, so that all errors are said.
        let proxy = written.proxy.as_ref().map(|proxy| self.proxy(index, whose, proxy, file));
        let files = written.files.as_ref().map(|files| self.files(index, whose, files));
        let pattern = written.matches.path.as_ref();
        let redirect =
            written.redirect.as_ref().map(|redirect| self.redirect(index, whose, redirect, pattern));
        let respond = written.respond.as_ref().map(|respond| self.respond(whose, respond));
        proxy.or(files).or(redirect).or(respond).unwrap_or(Action::Demo)
    }

    fn proxy(&mut self, index: usize, whose: &str, proxy: &At<file::Proxy>, file: &File) -> Action {
        if let Some(host) = &proxy.host {
            self.authority(&format!("{whose}: proxy.host"), &host.0, &host.span);
        }
        let host = proxy.host.as_ref().map(|host| host.0.clone());
        let Some(upstream) = &proxy.upstream else {
            let whose = format!("{whose}: proxy");
            self.missing(
                "route",
                index,
                &proxy.span,
                &whose,
                "upstream",
                "say where: proxy = { upstream = \"api\" }",
            );
            return Action::Proxy(ProxyTo { upstream: 0, host });
        };
        let known = || file.upstream.iter().filter_map(|one| one.name.as_ref()).map(|name| name.0.as_str());
        let place =
            file.upstream.iter().position(|one| one.name.as_ref().is_some_and(|name| name.0 == upstream.0));
        if place.is_none() {
            let problem = Problem::new(Code::UnknownUpstream, "", "no upstream has this name")
                .help(suggest::help(&upstream.0, "upstreams", known()));
            self.error(&upstream.span, format!("{whose} sends to an upstream that does not exist"), problem);
        }
        Action::Proxy(ProxyTo { upstream: place.unwrap_or(0), host })
    }

    fn files(&mut self, index: usize, whose: &str, files: &At<file::Files>) -> Action {
        let root = match &files.root {
            Some(root) => {
                self.directory(&format!("{whose}: files.root"), root);
                self.path(root)
            }
            None => {
                let help = "name a directory: files = { root = \"/srv/www\" }";
                self.missing("route", index, &files.span, &format!("{whose}: files"), "root", help);
                self.dir.to_owned()
            }
        };
        for name in &files.index {
            if name.0.contains('/') || matches!(name.0.as_str(), "." | "..") {
                let problem = Problem::new(Code::BadPath, "", "the name of a file is wanted");
                self.error(&name.span, format!("{whose}: files.index is not the name of a file"), problem);
            }
        }
        Action::Files(FilesFrom {
            root,
            index: files.index.iter().map(|name| name.0.clone()).collect(),
            precompressed: files.precompressed.iter().copied().map(coding).collect(),
            listing: files.listing,
            cache_control: files.cache_control.as_ref().map(|value| value.0.clone()),
        })
    }

    fn redirect(
        &mut self,
        index: usize,
        whose: &str,
        redirect: &At<file::Redirect>,
        pattern: Option<&At<Pattern>>,
    ) -> Action {
        if redirect.scheme.is_none() && redirect.host.is_none() && redirect.path.is_none() {
            let whose = format!("{whose}: redirect");
            let help =
                "without one of them the client is sent where it was: redirect = { scheme = \"https\" }";
            self.missing("route", index, &redirect.span, &whose, "scheme, host or path", help);
        }
        if let Some(host) = &redirect.host {
            self.authority(&format!("{whose}: redirect.host"), &host.0, &host.span);
        }
        if let Some(path) = &redirect.path {
            self.parameters(whose, "redirect.path", path, pattern);
        }
        if !matches!(redirect.status.0, 301 | 302 | 303 | 307 | 308) {
            let problem = Problem::new(Code::BadStatus, "", "not a status of a redirect")
                .help("known statuses: 301, 302, 303, 307, 308 (the method stays with the last two)");
            self.error(
                &redirect.status.span,
                format!("{whose} redirects with {}", redirect.status.0),
                problem,
            );
        }
        Action::Redirect(Redirect {
            scheme: redirect.scheme.map(|scheme| {
                match scheme {
                    file::Scheme::Http => "http",
                    file::Scheme::Https => "https",
                }
                .to_owned()
            }),
            host: redirect.host.as_ref().map(|host| host.0.clone()),
            path: redirect.path.as_ref().map(|path| path.0.clone()),
            // 300 to 399.
            status: u16::try_from(redirect.status.0).unwrap_or(308),
        })
    }

    fn respond(&mut self, whose: &str, respond: &At<file::Respond>) -> Action {
        if matches!(respond.status.0, 204 | 205 | 304) && !respond.body.is_empty() {
            let problem = Problem::new(Code::BadStatus, "", format!("{} has no body", respond.status.0));
            self.error(&respond.status.span, format!("{whose} has a body that cannot be sent"), problem);
        }
        let headers = self.fields(&format!("{whose}: respond.headers"), &respond.headers);
        let body = Bytes::from(respond.body.value.clone());
        // 200 to 599.
        Action::Respond(Respond { status: u16::try_from(respond.status.0).unwrap_or(200), body, headers })
    }

    /// A template asks for parameters of the pattern alone.
    fn parameters(&mut self, whose: &str, key: &str, path: &At<Template>, pattern: Option<&At<Pattern>>) {
        let known = pattern.map(|pattern| pattern.value.parameters()).unwrap_or_default();
        for name in path.value.parameters() {
            if !known.contains(&name) {
                let problem =
                    Problem::new(Code::UnknownParameter, "", format!("match.path has no {{{name}}}"))
                        .help(suggest::help(name, "parameters", known.iter().copied()));
                self.error(
                    &path.span,
                    format!("{whose}: {key} asks for a parameter that does not exist"),
                    problem,
                );
            }
        }
    }

    fn edits(&mut self, whose: &str, edits: &file::HeaderEdits) -> HeaderEdits {
        for name in &edits.remove.0 {
            self.may_edit(&format!("{whose}.remove"), &name.value, &name.span);
        }
        HeaderEdits {
            set: self.fields(&format!("{whose}.set"), &edits.set),
            add: self.fields(&format!("{whose}.add"), &edits.add),
            remove: edits.remove.values().into_iter().map(|name: FieldName| name.0).collect(),
        }
    }

    fn fields(&mut self, whose: &str, written: &BTreeMap<FieldName, At<FieldValue>>) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in written {
            self.may_edit(whose, name, &value.span);
            fields.push(&name.0, &value.0);
        }
        fields
    }

    /// Fields that say how a message is framed are not an operator's to say (RFC 9110 §7.6.1, RFC 9112 §6).
    fn may_edit(&mut self, whose: &str, name: &FieldName, span: &Span) {
        const OURS: [&str; 9] = [
            "connection",
            "content-length",
            "host",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        if OURS.contains(&name.0.as_str()) {
            let mut problem =
                Problem::new(Code::BadHeader, "", format!("{} is the gateway's to say", name.0));
            if name.0 == "host" {
                problem = problem
                    .help("the host that an upstream sees: proxy = { upstream = \"api\", host = \"...\" }");
            }
            self.error(span, format!("{whose} cannot change {}", name.0), problem);
        }
    }

    fn rate_limit(&mut self, index: usize, whose: &str, written: &file::Route) -> Option<RateLimit> {
        let limit = written.rate_limit.as_ref()?;
        let Some(rate) = &limit.rate else {
            let help = "say how many a second: rate_limit = { rate = 50 }";
            self.missing("route", index, &limit.span, &format!("{whose}: rate_limit"), "rate", help);
            return None;
        };
        // Within 32 bits: the reader says so.
        let burst = limit.burst.as_ref().map_or(rate.0.ceil().max(1.0) as u32, |burst| burst.0);
        Some(RateLimit { per: limit.per.0.clone(), rate: rate.0, burst })
    }

    fn access(&mut self, whose: &str, written: &file::Route) -> Access {
        let blocks = |list: &Many<Block>| list.values().into_iter().map(|block| block.0).collect();
        match (&written.allow, &written.deny) {
            (None, None) => Access::Open,
            (Some(allow), None) => Access::Allow(blocks(&allow.value)),
            (None, Some(deny)) => Access::Deny(blocks(&deny.value)),
            (Some(allow), Some(deny)) => {
                let later = if allow.span.start > deny.span.start { &allow.span } else { &deny.span };
                let problem =
                    Problem::new(Code::Conflict, "", "one of both says who may ask").help("keep one of both");
                self.error(later, format!("{whose} has both allow and deny"), problem);
                Access::Open
            }
        }
    }

    fn errors(&mut self, index: usize, whose: &str, written: &file::Route) -> BTreeMap<u16, ErrorBody> {
        let mut errors = BTreeMap::new();
        for (status, body) in &written.errors {
            let whose = format!("{whose}: errors.{status}");
            let Some(file) = &body.file else {
                let help = "name a file: errors = { 502 = { file = \"502.html\" } }";
                self.missing("route", index, &body.span, &whose, "file", help);
                continue;
            };
            let Some(octets) = self.read_file(&whose, file) else { continue };
            if octets.len() > MOST_ERROR_BODY {
                let problem = Problem::new(Code::BadFile, "", "1 MiB at most");
                self.error(&file.span, format!("{whose} names a file that is too large"), problem);
                continue;
            }
            let content_type =
                body.content_type.as_ref().map_or_else(|| type_of(&file.0), |value| value.0.clone());
            errors.insert(status.0, ErrorBody { content_type, body: octets.into() });
        }
        errors
    }
}

/// The media type of an error body by the name of its file.
fn type_of(name: &str) -> String {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
    .to_owned()
}

fn coding(coding: file::Coding) -> Coding {
    match coding {
        file::Coding::Brotli => Coding::Brotli,
        file::Coding::Zstd => Coding::Zstd,
        file::Coding::Gzip => Coding::Gzip,
    }
}

fn compression(table: &file::CompressTable) -> Compress {
    Compress {
        encodings: table.encodings.iter().copied().map(coding).collect(),
        min_bytes: table.min_bytes.0,
        types: table.types.iter().map(|name| name.0.clone()).collect(),
    }
}

/// Where a route is: its name, else its table.
fn place_of(route: &At<file::Route>) -> Span {
    route.name.as_ref().map_or_else(|| route.span.clone(), |name| name.span.clone())
}

/// They take the same requests.
fn same(one: &Match, other: &Match) -> bool {
    fn set(list: &[String]) -> BTreeSet<&str> {
        list.iter().map(String::as_str).collect()
    }
    let headers = |matches: &Match| -> BTreeSet<(String, Option<String>)> {
        matches.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
    };
    one.path == other.path
        && set(&one.hosts) == set(&other.hosts)
        && set(&one.methods) == set(&other.methods)
        && set(&one.listeners) == set(&other.listeners)
        && headers(one) == headers(other)
}
