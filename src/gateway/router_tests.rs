use proptest::prelude::*;
use stagedoor_protocol::RequestHead;

use super::*;
use crate::config::HeaderMatch;

/// A route as the tests write it.
#[derive(Clone, Debug, Default)]
struct Rule {
    hosts: Vec<String>,
    path: Option<String>,
    methods: Vec<String>,
    headers: Vec<HeaderMatch>,
    connect: bool,
}

fn rule(host: &str, path: &str) -> Rule {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Rule { hosts: some(host).into_iter().collect(), path: some(path), ..Rule::default() }
}

impl Rule {
    fn method(mut self, method: &str) -> Self {
        self.methods.push(method.to_owned());
        self
    }

    fn header(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.push(HeaderMatch { name: name.to_owned(), value: value.map(str::to_owned) });
        self
    }

    fn conditions(&self) -> Conditions {
        let matches =
            Match { methods: self.methods.clone(), headers: self.headers.clone(), ..Match::default() };
        Conditions::new(&matches, self.connect)
    }

    fn pattern(&self) -> Option<Pattern> {
        self.path.as_deref().map(|path| Pattern::parse(path).unwrap())
    }
}

fn router(rules: &[Rule]) -> Router {
    let made: Vec<_> = rules.iter().map(|rule| (rule.pattern(), rule.conditions())).collect();
    Router::new(rules.iter().zip(&made).enumerate().map(|(at, (rule, (pattern, conditions)))| Entry {
        route: at as u16,
        hosts: &rule.hosts,
        pattern: pattern.as_ref(),
        conditions,
    }))
}

fn get(authority: &str, path: &str) -> RequestHead {
    RequestHead::new("GET", "https", authority, path)
}

fn taken(router: &Router, head: &RequestHead) -> Option<u16> {
    match router.find(head) {
        Found::Route(route, _) => Some(route),
        _ => None,
    }
}

#[test]
fn host_goes_before_path_and_path_before_conditions_and_order() {
    let router = router(&[
        rule("", "/a/b"),
        rule("*.example.org", "/a/b"),
        rule("*.b.example.org", "/{*rest}"),
        rule("a.b.example.org", ""),
        rule("", "/{*rest}").method("GET"),
        rule("", "/x").header("x-debug", None),
        rule("", "/x"),
        rule("", "/x").method("GET").header("x-debug", Some("2")),
        rule("", "/{id}"),
        rule("", "/{name}"),
    ]);
    let mut debug = get("other", "/x");
    for (authority, path, route) in [
        ("a.b.example.org", "/a/b", 3),
        ("A.B.Example.Org.:443", "/a/b", 3),
        ("z.b.example.org", "/a/b", 2),
        ("z.example.org", "/a/b", 1),
        ("z.example.org", "/z/z", 4),
        ("example.org", "/a/b", 0),
        ("other", "/x", 6),
        ("other", "/y", 8),
        ("other", "/y/z", 4),
    ] {
        assert_eq!(taken(&router, &get(authority, path)), Some(route), "{authority}{path}");
    }
    debug.fields_mut().push("x-debug", "1");
    assert_eq!(taken(&router, &debug), Some(5), "a condition more");
    debug.fields_mut().push("x-debug", "2");
    assert_eq!(taken(&router, &debug), Some(7), "two conditions more; any line of the field counts");
}

#[test]
fn a_route_that_does_not_take_the_method_stands_in_nobodys_way() {
    let router = router(&[rule("a", "/x").method("POST"), rule("", "/{*rest}").method("GET")]);
    assert_eq!(taken(&router, &get("a", "/x")), Some(1));
    assert_eq!(taken(&router, &RequestHead::new("POST", "https", "a", "/x")), Some(0));
    assert_eq!(taken(&router, &RequestHead::new("HEAD", "https", "a", "/x")), Some(1), "GET takes HEAD");
    let upgrade = RequestHead::extended_connect("websocket", "https", "a", "/x");
    assert_eq!(taken(&router, &upgrade), Some(1), "and extended CONNECT");
    let other = RequestHead::new("DELETE", "https", "a", "/x");
    assert_eq!(router.find(&other), Found::Method("GET, HEAD, POST".to_owned()));
    let elsewhere = RequestHead::new("DELETE", "https", "a", "/y");
    assert_eq!(router.find(&elsewhere), Found::Method("GET, HEAD".to_owned()));
}

#[test]
fn what_nobody_takes_is_told_apart() {
    let named = router(&[rule("a.example", "/x"), rule("[::1]", ""), rule("*.wild.example", "")]);
    assert_eq!(named.find(&get("a.example", "/y")), Found::Nothing);
    assert_eq!(named.find(&get("b.example", "/x")), Found::Misdirected);
    assert_eq!(named.find(&get("wild.example", "/x")), Found::Misdirected, "a label stands for the asterisk");
    assert_eq!(named.find(&get(".wild.example", "/x")), Found::Misdirected);
    assert_eq!(named.find(&get("user@a.example", "/x")), Found::NoHost);
    assert_eq!(named.find(&get("", "/x")), Found::Misdirected);
    assert_eq!(taken(&named, &get("[0::1]:80", "/x")), Some(1));
    let star = |authority| RequestHead::new("OPTIONS", "https", authority, "*");
    assert_eq!(named.find(&star("a.example")), Found::Server);
    assert_eq!(named.find(&star("b.example")), Found::Misdirected);
    let open = router(&[rule("", "/x")]);
    assert_eq!(open.find(&get("b.example", "/y")), Found::Nothing);
    assert_eq!(open.find(&star("")), Found::Server);
    assert_eq!(router(&[]).find(&get("b.example", "/y")), Found::Nothing);
    let long = format!("{}wild.example", "a.".repeat(200));
    assert_eq!(named.find(&get(&long, "/x")), Found::Misdirected, "longer than a name may be");
}

#[test]
fn connect_is_taken_only_by_routes_that_say_so_and_have_no_path() {
    let connect = RequestHead::connect("db.example:5432");
    let open = router(&[rule("", "/{*rest}"), rule("", "")]);
    assert_eq!(open.find(&connect), Found::Method(METHODS.to_owned()));
    let allowed = Rule { connect: true, ..rule("db.example", "") };
    let patterned = Rule { connect: true, ..rule("", "/{*rest}") };
    let both = router(&[rule("", ""), patterned, allowed.clone()]);
    assert_eq!(taken(&both, &connect), Some(2));
    assert_eq!(both.find(&RequestHead::connect("other:1")), Found::Method(METHODS.to_owned()));
    let only_get = router(&[allowed.method("GET")]);
    assert_eq!(taken(&only_get, &connect), None, "CONNECT is not GET");
}

/// Whether a rule takes a request, by the words of the module alone.
fn takes(rule: &Rule, host: &str, head: &RequestHead) -> Option<HostRank> {
    let path = path::canonical(path::without_query(head.path_octets())).into_owned();
    let by_path = rule.pattern().is_none_or(|pattern| pattern.takes(&path));
    let by_method = rule.methods.is_empty()
        || rule
            .methods
            .iter()
            .any(|known| known == head.method() || known == "GET" && head.method() == "HEAD");
    let by_headers = rule.headers.iter().all(|wanted| {
        head.fields().iter().any(|field| {
            field.name == wanted.name.as_bytes()
                && wanted.value.as_ref().is_none_or(|value| value.as_bytes() == field.value)
        })
    });
    let by_host = rule.hosts.iter().filter_map(|name| match name.strip_prefix('*') {
        Some(suffix) if host.len() > suffix.len() && host.ends_with(suffix) => Some((1, suffix.len())),
        None if name == host => Some((2, 0)),
        _ => None,
    });
    let by_host = if rule.hosts.is_empty() { Some((0, 0)) } else { by_host.max() };
    by_host.filter(|_| by_path && by_method && by_headers)
}

/// Greater is more specific.
type HostRank = (u8, usize);

/// The first of all rules that take a request, without any tree or table.
fn reference(rules: &[Rule], host: &str, head: &RequestHead) -> Option<u16> {
    let mut all: Vec<_> = rules
        .iter()
        .enumerate()
        .filter_map(|(at, rule)| takes(rule, host, head).map(|rank| (rank, rule, at as u16)))
        .collect();
    all.sort_by(|(left_rank, left, left_at), (right_rank, right, right_at)| {
        let by_path = match (left.pattern(), right.pattern()) {
            (Some(left), Some(right)) => left.specificity(&right),
            (left, right) => right.is_some().cmp(&left.is_some()),
        };
        right_rank
            .cmp(left_rank)
            .then(by_path)
            .then(right.conditions().count.cmp(&left.conditions().count))
            .then(left_at.cmp(right_at))
    });
    all.first().map(|(_, _, at)| *at)
}

fn any_host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a.x", "b.a.x", "c.b.a.x", "x", "y"])
}

fn any_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "", "%61", "a%2fb", "aab"]);
    prop::collection::vec(segment, 1..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let hosts = prop::sample::subsequence(vec!["a.x", "b.a.x", "*.x", "*.a.x", "y"], 0..3);
    let segment = prop::sample::select(vec!["a", "b", "", "{p}", "a{p}", "{p}b", "a{p}b"]);
    let tail = prop::sample::select(vec!["", "/{*rest}"]);
    let path = (prop::collection::vec(segment, 0..3), tail).prop_map(|(segments, tail)| {
        let segments: Vec<_> = segments
            .iter()
            .enumerate()
            .map(|(at, text)| text.replace("{p}", &format!("{{p{at}}}")))
            .collect();
        let start = if segments.is_empty() && tail.is_empty() { "/" } else { "" };
        let body: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        format!("{start}{body}{tail}")
    });
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PUT"], 0..3);
    let value = prop::option::of(prop::sample::select(vec!["1", "2"]));
    let headers = prop::collection::vec((prop::sample::select(vec!["p", "q"]), value), 0..2);
    (hosts, prop::option::of(path), methods, headers).prop_map(|(hosts, path, methods, headers)| {
        let own = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let rule = Rule { hosts: own(hosts), path, methods: own(methods), ..Rule::default() };
        headers.into_iter().fold(rule, |rule, (name, value)| rule.header(name, value))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_route_taken_is_the_first_of_all_that_match(
        rules in prop::collection::vec(any_rule(), 0..8),
        host in any_host(),
        path in any_path(),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE"]),
        fields in prop::collection::vec(
            (prop::sample::select(vec!["p", "q"]), prop::sample::select(vec!["1", "2", "3"])), 0..3),
    ) {
        let mut head = RequestHead::new(method, "https", host, &path);
        head.fields_mut().extend(fields);
        let router = router(&rules);
        prop_assert_eq!(taken(&router, &head), reference(&rules, host, &head));
    }
}
