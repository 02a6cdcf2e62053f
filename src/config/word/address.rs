//! Names and places: of listeners and routes, of sockets, of endpoints, of files.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use schemars::{Schema, json_schema};

use super::super::diagnostic::Code;
use super::super::model::{Bind, EndpointAddress};
use super::super::problem::Problem;
use super::Word;

/// A name of a listener, an upstream or a route: a label of metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Label(pub(in super::super) String);

/// An address with a port, `unix:/path`, or `fd:NAME` of a socket that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct BindTo(pub(in super::super) Bind);

/// As [`BindTo`], or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct AdminAt(pub(in super::super) Option<Bind>);

/// A block of addresses, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Block(pub(in super::super) IpNet);

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct ServerAddress(pub(in super::super) SocketAddr);

/// `http://host:port`, `https://host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct EndpointUrl {
    pub(in super::super) tls: bool,
    pub(in super::super) address: EndpointAddress,
}

/// A name to look up: `api.internal:8080`, `https://api.internal:8443`, `srv:_api._tcp.internal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Lookup {
    pub(in super::super) tls: bool,
    pub(in super::super) name: String,
    /// `None` is SRV, which tells it.
    pub(in super::super) port: Option<u16>,
}

/// A host of requests or certificates: `example.org` or `*.example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Host(pub(in super::super) String);

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct FilePath(pub(in super::super) String);

super::words!(Label, BindTo, AdminAt, Block, ServerAddress, EndpointUrl, Lookup, Host, FilePath);

impl Word for Label {
    const NAME: &'static str = "Name";
    const WHAT: &'static str = "a name";

    fn read(text: &str) -> Result<Self, Problem> {
        let inner = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.');
        let label = match text {
            "" => "it is empty",
            _ if text.len() > 64 => "64 characters at most",
            _ if !text.chars().all(inner) => "letters, digits, '-', '_' and '.' alone",
            _ if !text.starts_with(|sign: char| sign.is_ascii_alphanumeric()) => {
                "begins with a letter or a digit"
            }
            _ => return Ok(Self(text.to_owned())),
        };
        Err(Problem::new(Code::BadName, "is not a name", label)
            .help("a name is a label of metrics and part of variables of the environment: public, api-v2"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const BIND_HELP: &str =
    "an address looks like 127.0.0.1:8080, [::]:443, unix:/run/stagedoor/http.sock or fd:NAME";

fn bind(text: &str) -> Result<Bind, Problem> {
    let bad = |label: &str| Problem::new(Code::BadAddress, "is not an address", label).help(BIND_HELP);
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(bad("a path is missing after \"unix:\"")),
            // sun_path of Linux, with its end.
            _ if path.len() > 107 => Err(bad("the path of a Unix socket has 107 octets at most")),
            _ if path.contains('\0') => Err(bad("a path has no NUL")),
            _ => Ok(Bind::Unix(path.into())),
        };
    }
    if let Some(name) = text.strip_prefix("fd:") {
        return match name {
            "" => Err(bad("a name or number is missing after \"fd:\"")),
            _ if name.contains(|sign: char| sign == ':' || sign.is_control()) => {
                Err(bad("a name has no ':'"))
            }
            _ => Ok(Bind::Inherited(name.to_owned())),
        };
    }
    if let Ok(address) = text.parse() {
        return Ok(Bind::Tcp(address));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(bad("a port is missing"));
    }
    let host = text.rsplit_once(':').map(|(host, _)| host);
    Err(match host {
        Some("") => bad("an IP address is missing before the port"),
        Some(host) if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) || host.starts_with('[') => {
            bad("not an IP address with a port from 0 to 65535")
        }
        Some(_) => bad("an IP address is wanted: names are not looked up to listen"),
        None => bad("not an IP address with a port"),
    })
}

fn write_bind(bind: &Bind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bind {
        Bind::Tcp(address) => write!(f, "{address}"),
        Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        Bind::Inherited(name) => write!(f, "fd:{name}"),
    }
}

impl Word for BindTo {
    const NAME: &'static str = "Bind";
    const WHAT: &'static str = "an address such as \"[::]:8443\"";

    fn read(text: &str) -> Result<Self, Problem> {
        bind(text).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "An address with a port, unix:/path or fd:NAME.", "examples": ["[::]:8443", "unix:/run/stagedoor/http.sock", "fd:public"] })
    }
}

impl fmt::Display for BindTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bind(&self.0, f)
    }
}

impl Word for AdminAt {
    const NAME: &'static str = "AdminBind";
    const WHAT: &'static str = "an address such as \"127.0.0.1:9901\", or \"off\"";

    fn read(text: &str) -> Result<Self, Problem> {
        if text == "off" { Ok(Self(None)) } else { bind(text).map(|bind| Self(Some(bind))) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "An address with a port, unix:/path, fd:NAME or off.", "examples": ["127.0.0.1:9901", "unix:/run/stagedoor/admin.sock", "off"] })
    }
}

impl fmt::Display for AdminAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(bind) => write_bind(bind, f),
            None => f.write_str("off"),
        }
    }
}

impl Word for Block {
    const NAME: &'static str = "Cidr";
    const WHAT: &'static str = "a block of addresses such as \"10.0.0.0/8\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| {
            Problem::new(Code::BadCidr, "is not a block of addresses", label)
                .help("a block looks like 10.0.0.0/8 or fd00::/8, one address like 192.0.2.1")
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address)));
        }
        let (address, length) = text.split_once('/').ok_or_else(|| bad("not an IP address"))?;
        let address: IpAddr = address.parse().map_err(|_| bad("not an IP address before the '/'"))?;
        let length = length.parse().map_err(|_| bad("not a number of bits after the '/'"))?;
        let block = IpNet::new(address, length).map_err(|_| match address {
            IpAddr::V4(_) => bad("0 to 32 bits"),
            IpAddr::V6(_) => bad("0 to 128 bits"),
        })?;
        if block.trunc() != block {
            return Err(
                bad("bits are set behind the prefix").help(format!("did you mean \"{}\"?", block.trunc()))
            );
        }
        Ok(Self(block))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A block of addresses, or one address.", "examples": ["10.0.0.0/8", "::1/128"] })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for ServerAddress {
    const NAME: &'static str = "Address";
    const WHAT: &'static str = "an address such as \"127.0.0.1:5353\"";

    fn read(text: &str) -> Result<Self, Problem> {
        // The port of DNS where none is said.
        let address = text.parse().ok().or_else(|| Some((text.parse::<IpAddr>().ok()?, 53).into()));
        address.map(Self).ok_or_else(|| {
            Problem::new(Code::BadAddress, "is not an address", "not an IP address")
                .help("a server of names looks like 127.0.0.1:5353 or [::1]:53")
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "An IP address, with a port where it is not 53.", "examples": ["127.0.0.1:5353"] })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const URL_HELP: &str =
    "an endpoint looks like http://10.0.0.7:8080, https://api.internal or unix:/run/api.sock";

fn bad_url(label: &str) -> Problem {
    Problem::new(Code::BadUrl, "is not the URL of an endpoint", label).help(URL_HELP)
}

/// A name or address of a host; of IPv6 without its brackets.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    const PORT: &str = "not a port from 1 to 65535";
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or(PORT);
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("']' is missing")?;
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| "not an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(text) => Ok((address.to_string(), Some(port(text)?))),
            None if rest.is_empty() => Ok((address.to_string(), None)),
            None => Err("what follows ']' is not a port"),
        };
    }
    if authority.matches(':').count() > 1 {
        return Err("an IPv6 address stands in brackets");
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, text)) => (host, Some(port(text)?)),
        None => (authority, None),
    };
    if !is_host(host) {
        return Err(if host.is_empty() { "a host is missing" } else { "not a host" });
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// A name of DNS, or what looks like one (`_api._tcp.internal`, an IPv4 address).
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, b'-' | b'_'))
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(label)
}

impl Word for EndpointUrl {
    const NAME: &'static str = "EndpointUrl";
    const WHAT: &'static str = "a URL such as \"http://10.0.0.7:8080\"";

    fn read(text: &str) -> Result<Self, Problem> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.len() > 107 || path.contains('\0') {
                return Err(bad_url("a path of 1 to 107 octets is missing after \"unix:\""));
            }
            return Ok(Self { tls: false, address: EndpointAddress::Unix(path.into()) });
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(bad_url("neither http nor https")),
            None => return Err(bad_url("it begins with neither http:// nor https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(bad_url("a path has no place here")
                .help("paths are changed where requests are routed: strip_prefix and rewrite of a route"));
        }
        if authority.contains('@') {
            return Err(bad_url("credentials have no place here"));
        }
        let (host, port) = host_and_port(authority).map_err(bad_url)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, address: EndpointAddress::Tcp { host, port } })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "http://host:port, https://host:port or unix:/path.", "examples": ["http://10.0.0.7:8080", "unix:/run/api.sock"] })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.address {
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            EndpointAddress::Tcp { host, port } if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}")
            }
            EndpointAddress::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl Word for Lookup {
    const NAME: &'static str = "Lookup";
    const WHAT: &'static str = "a name such as \"api.internal:8080\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| {
            Problem::new(Code::BadUrl, "is not a name to look up", label).help(
                "a name looks like api.internal:8080, https://api.internal:8443 or srv:_api._tcp.internal (srv:https://... with TLS)",
            )
        };
        let (srv, rest) = match text.strip_prefix("srv:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (tls, authority) = match rest.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(bad("neither http nor https")),
            None => (false, rest),
        };
        let (name, port) = host_and_port(authority).map_err(bad)?;
        if name.parse::<IpAddr>().is_ok() {
            return Err(bad("an address needs no look-up: see endpoints"));
        }
        match (srv, port) {
            (true, Some(_)) => Err(bad("the port is what SRV tells")),
            (true, None) if !name.starts_with('_') => {
                Err(bad("a name of SRV begins with its service: _api._tcp."))
            }
            (false, None) => Err(bad("a port is missing")),
            _ => Ok(Self { tls, name, port }),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "name:port, https://name:port or srv:_service._tcp.name.", "examples": ["api.internal:8080", "srv:_api._tcp.internal"] })
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https://" } else { "" };
        match self.port {
            None => write!(f, "srv:{scheme}{}", self.name),
            Some(port) => write!(f, "{scheme}{}:{port}", self.name),
        }
    }
}

impl Word for Host {
    const NAME: &'static str = "Host";
    const WHAT: &'static str = "a host such as \"example.org\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| {
            Problem::new(Code::BadHost, "is not a host", label)
                .help("a host looks like example.org, *.example.org (one label or more), 192.0.2.1 or [2001:db8::1]")
        };
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            return Err(bad("a wildcard is the whole first label: \"*.\""));
        }
        if let Ok((_, Some(_))) = host_and_port(name) {
            return Err(bad("a port has no place here"));
        }
        if name.starts_with('[') && name == text && host_and_port(name).is_ok() {
            return Ok(Self(name.to_ascii_lowercase()));
        }
        if !is_host(name) || name.ends_with('.') {
            return Err(bad(if text.is_empty() { "it is empty" } else { "not the name of a host" }));
        }
        if name != text && (!name.contains('.') || name.parse::<IpAddr>().is_ok()) {
            return Err(bad("a wildcard needs two labels behind it"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A host, or *. and a name for all below it.", "examples": ["example.org", "*.example.org"] })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for FilePath {
    const NAME: &'static str = "Path";
    const WHAT: &'static str = "the path of a file";

    fn read(text: &str) -> Result<Self, Problem> {
        match text {
            "" => Err(Problem::new(Code::MissingFile, "names no file", "it is empty")),
            _ if text.contains('\0') => {
                Err(Problem::new(Code::MissingFile, "names no file", "a path has no NUL"))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A path; a relative one begins where the configuration is." })
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same<W: Word + PartialEq + fmt::Debug>(text: &str) {
        let word = W::read(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        assert_eq!(W::read(&word.to_string()), Ok(word), "{text}");
    }

    fn refused<W: Word + fmt::Debug>(texts: &[&str], code: Code) {
        for text in texts {
            assert_eq!(W::read(text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn sockets() {
        ["127.0.0.1:80", "[::]:443", "unix:/run/x.sock", "fd:public", "fd:3", "0.0.0.0:0"]
            .iter()
            .for_each(|text| same::<BindTo>(text));
        let bad = [
            "",
            "80",
            ":80",
            "localhost:80",
            "127.0.0.1",
            "::1",
            "127.0.0.1:99999",
            "unix:",
            "fd:",
            "fd:a:b",
        ];
        refused::<BindTo>(&bad, Code::BadAddress);
        assert_eq!(AdminAt::read("off"), Ok(AdminAt(None)));
        same::<AdminAt>("127.0.0.1:9901");
        assert_eq!(ServerAddress::read("::1").unwrap().0, "[::1]:53".parse().unwrap());
    }

    #[test]
    fn blocks() {
        ["10.0.0.0/8", "::1/128", "0.0.0.0/0", "192.0.2.1", "fd00::/8"]
            .iter()
            .for_each(|text| same::<Block>(text));
        refused::<Block>(
            &["", "ten", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.1/8", "/8"],
            Code::BadCidr,
        );
    }

    #[test]
    fn endpoints() {
        ["http://10.0.0.7:8080", "https://api.internal", "http://[::1]:80", "unix:/run/a", "http://a/"]
            .iter()
            .for_each(|text| same::<EndpointUrl>(text));
        let tcp = |host: &str, port| EndpointAddress::Tcp { host: host.to_owned(), port };
        assert_eq!(EndpointUrl::read("https://API.internal/").unwrap().address, tcp("api.internal", 443));
        assert_eq!(EndpointUrl::read("http://[2001:DB8::1]").unwrap().address, tcp("2001:db8::1", 80));
        let bad = [
            "",
            "a:80",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:x",
            "http://a/b",
            "http://u@a",
            "http://a?b",
            "http://::1:80",
            "http://[::1",
            "http://[::1]x",
            "http://a b",
            "unix:",
            "http://a..b",
        ];
        refused::<EndpointUrl>(&bad, Code::BadUrl);
        [
            "api.internal:8080",
            "https://api.internal:8443",
            "srv:_api._tcp.internal",
            "srv:https://_api._tcp.internal",
        ]
        .iter()
        .for_each(|text| same::<Lookup>(text));
        refused::<Lookup>(
            &["", "api", "srv:_a._tcp.b:80", "srv:api", "10.0.0.1:80", "x://a:1"],
            Code::BadUrl,
        );
    }

    #[test]
    fn hosts() {
        ["example.org", "*.example.org", "localhost", "192.0.2.1", "[::1]"]
            .iter()
            .for_each(|text| same::<Host>(text));
        assert_eq!(Host::read("*.EXAMPLE.org").unwrap().0, "*.example.org");
        let bad = [
            "",
            "*",
            "*.",
            "*.org",
            "a.*.org",
            "*a.org",
            "a:80",
            "a b",
            "http://a",
            "a.",
            "[::1]:80",
            "*.[::1]",
            "*.1.2.3.4",
        ];
        refused::<Host>(&bad, Code::BadHost);
    }

    #[test]
    fn names() {
        ["public", "api-v2", "a.b_c", "0"].iter().for_each(|text| same::<Label>(text));
        refused::<Label>(&["", "-a", "a b", "ä", "a/b", &"a".repeat(65)], Code::BadName);
        same::<Label>(&"a".repeat(64));
    }
}
