//! What commands that serve print before they serve: where, with which certificate, and what to try. Names nothing that
//! does not exist. Knows no sockets; `serve` says what was bound.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stagedoor::devca::Origin;

/// Everything the banner tells.
pub(crate) struct Banner {
    pub(crate) shown: Shown,
    pub(crate) workers: usize,
    pub(crate) certificate: Origin,
    pub(crate) ca_pem: PathBuf,
    pub(crate) public: Bound,
    pub(crate) plain: Bound,
    /// None without observation.
    pub(crate) admin: Option<Bound>,
    /// From the start of the process.
    pub(crate) ready_in: Duration,
}

/// What is served.
#[derive(Clone)]
pub(crate) enum Shown {
    Demo,
    Files { root: PathBuf, listing: bool },
}

impl Shown {
    /// What the process is configured by, for the admin API.
    pub(crate) fn source(&self) -> &'static str {
        match self {
            Self::Demo => "built-in demo",
            Self::Files { .. } => "command line",
        }
    }
}

/// Where a listener is.
pub(crate) struct Bound {
    /// `localhost` or an address, with the port.
    pub(crate) authority: String,
    /// Every address of it answers.
    pub(crate) everywhere: bool,
    /// The port it should have had.
    pub(crate) moved_from: Option<u16>,
}

impl Bound {
    /// How a listener is called that has `addresses`; `localhost` where the certificate's name fits.
    pub(crate) fn new(addresses: &[SocketAddr], named: bool, moved_from: Option<u16>) -> Self {
        let first = addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let everywhere = first.ip().is_unspecified();
        let authority =
            if named || everywhere { format!("localhost:{}", first.port()) } else { first.to_string() };
        Self { authority, everywhere, moved_from }
    }

    fn remarks(&self) -> String {
        let mut remarks = String::new();
        if self.everywhere {
            remarks.push_str("   on every address of this machine");
        }
        if let Some(port) = self.moved_from {
            let _ = write!(remarks, "   (port {port} was taken)");
        }
        remarks
    }
}

/// Escape sequences, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

impl Colour {
    /// On for a terminal that can, unless NO_COLOR says otherwise (no-color.org).
    pub(crate) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// The same of stdout.
    pub(crate) fn of_stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if terminal && !unwanted && !dumb { Self::On } else { Self::Off }
    }

    fn paint(self, code: &'static str, text: impl fmt::Display) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_string(),
        }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";

impl Banner {
    /// The text, line by line; `home` is written `~`.
    pub(crate) fn text(&self, colour: Colour, home: Option<&Path>) -> String {
        let mut text = String::new();
        let name = colour.paint(BOLD, concat!("stagedoor ", env!("CARGO_PKG_VERSION")));
        let plural = if self.workers == 1 { "" } else { "s" };
        let ca = shown_path(&self.ca_pem, home);
        let age = match self.certificate {
            Origin::Made => "made now",
            Origin::Kept => "made before",
        };
        let mut line = |head: &str, rest: &str| {
            let _ = writeln!(text, "{head}{rest}");
        };
        let what = match &self.shown {
            Shown::Demo => "config: built-in demo   (write your own: stagedoor init)".to_owned(),
            Shown::Files { root, listing } => {
                let listing = if *listing { "on" } else { "off (--listing)" };
                format!("files: {}   listings {listing}", shown_path(root, home))
            }
        };
        line(&name, &format!("   {} worker{plural}   {what}", self.workers));
        line("  certificate   ", &format!("self-signed for localhost, {age}   {ca}"));
        let mut row = |name: &str, url: String, what: &str| {
            // Counted before it is painted: escape sequences have no width.
            let gap = if what.is_empty() { 0 } else { 29_usize.saturating_sub(url.len()).max(2) };
            line(&format!("  {name:<12}  "), &format!("{}{:gap$}{what}", colour.paint(CYAN, url), ""));
        };
        let public = format!("https://{}/", self.public.authority);
        row("public", public.clone(), &format!("h2, http/1.1{}", self.public.remarks()));
        row(
            "plain",
            format!("http://{}/", self.plain.authority),
            &format!("h2c, http/1.1{}", self.plain.remarks()),
        );
        if let Some(admin) = &self.admin {
            let what = format!("live sessions, streams, actors{}", admin.remarks());
            row("admin", format!("http://{}/", admin.authority), &what);
            row("metrics", format!("http://{}/metrics", admin.authority), "");
        }
        line(&colour.paint(DIM, "try"), &format!("   curl --cacert {ca} {public}"));
        if let Some(admin) = &self.admin {
            let place = match &*admin.authority {
                // Where `top` looks by itself.
                "127.0.0.1:9901" => String::new(),
                other => format!(" --admin http://{other}"),
            };
            line("      stagedoor top", &place);
        }
        let ready = colour.paint(BOLD, format!("ready in {} ms", self.ready_in.as_millis()));
        line(&ready, "   Ctrl-C drains, twice stops");
        text
    }
}

/// What a configured gateway tells: its configuration, and where each listener is.
pub(crate) struct Front {
    pub(crate) workers: usize,
    pub(crate) source: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) ready_in: Duration,
}

/// A listener at one of its places.
pub(crate) struct Row {
    name: String,
    url: String,
    what: String,
}

impl Row {
    pub(crate) fn new(name: &str, scheme: &str, address: &stagedoor::Address, what: &str) -> Self {
        let url = match address.tcp() {
            Some(address) => format!("{scheme}://{address}/"),
            None => address.to_string(),
        };
        Self { name: name.to_owned(), url, what: what.to_owned() }
    }
}

impl Front {
    /// The text, line by line.
    pub(crate) fn text(&self, colour: Colour) -> String {
        let mut text = String::new();
        let name = colour.paint(BOLD, concat!("stagedoor ", env!("CARGO_PKG_VERSION")));
        let plural = if self.workers == 1 { "" } else { "s" };
        let _ = writeln!(text, "{name}   {} worker{plural}   {}", self.workers, self.source);
        for Row { name, url, what } in &self.rows {
            let gap = 29_usize.saturating_sub(url.chars().count()).max(2);
            let _ = writeln!(text, "  {name:<12}  {}{:gap$}{what}", colour.paint(CYAN, url), "");
        }
        let ready = colour.paint(BOLD, format!("ready in {} ms", self.ready_in.as_millis()));
        let _ = writeln!(text, "{ready}   Ctrl-C drains, twice stops, HUP reloads");
        text
    }
}

/// A path as one types it into a shell.
fn shown_path(path: &Path, home: Option<&Path>) -> String {
    let (start, rest) = match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => ("~/", rest),
        None => ("", path),
    };
    let rest = rest.to_string_lossy();
    let plain = |sign: char| sign.is_alphanumeric() || "/._-+:@,%".contains(sign);
    if rest.chars().all(plain) {
        format!("{start}{rest}")
    } else {
        format!("{start}'{}'", rest.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Banner {
        let bound = |address: &str, named| Bound::new(&[address.parse().unwrap()], named, None);
        Banner {
            shown: Shown::Demo,
            workers: 2,
            certificate: Origin::Made,
            ca_pem: "/home/ada/.local/share/stagedoor/dev/ca.pem".into(),
            public: bound("127.0.0.1:8443", true),
            plain: bound("127.0.0.1:8080", true),
            admin: Some(bound("127.0.0.1:9901", false)),
            ready_in: Duration::from_millis(41),
        }
    }

    #[test]
    fn the_demo_looks_like_this() {
        let expected = "\
stagedoor 0.1.0   2 workers   config: built-in demo   (write your own: stagedoor init)
  certificate   self-signed for localhost, made now   ~/.local/share/stagedoor/dev/ca.pem
  public        https://localhost:8443/      h2, http/1.1
  plain         http://localhost:8080/       h2c, http/1.1
  admin         http://127.0.0.1:9901/       live sessions, streams, actors
  metrics       http://127.0.0.1:9901/metrics
try   curl --cacert ~/.local/share/stagedoor/dev/ca.pem https://localhost:8443/
      stagedoor top
ready in 41 ms   Ctrl-C drains, twice stops
";
        assert_eq!(demo().text(Colour::Off, Some(Path::new("/home/ada"))), expected);
    }

    #[test]
    fn moved_ports_open_addresses_and_missing_admin_show() {
        let mut banner = demo();
        banner.workers = 1;
        banner.public = Bound::new(&["127.0.0.1:8444".parse().unwrap()], true, Some(8443));
        banner.plain = Bound::new(&["[::]:80".parse().unwrap()], false, None);
        banner.admin = Some(Bound::new(&["127.0.0.1:9902".parse().unwrap()], false, Some(9901)));
        let text = banner.text(Colour::Off, None);
        assert!(text.contains("      stagedoor top --admin http://127.0.0.1:9902\n"), "{text}");
        banner.admin = None;
        let text = banner.text(Colour::Off, None);
        assert!(text.contains("1 worker   "), "{text}");
        assert!(text.contains("https://localhost:8444/      h2, http/1.1   (port 8443 was taken)"), "{text}");
        assert!(text.contains("http://localhost:80/         h2c, http/1.1   on every address"), "{text}");
        assert!(
            !text.contains("admin") && !text.contains("metrics") && !text.contains("stagedoor top"),
            "{text}"
        );
    }

    #[test]
    fn a_directory_is_named() {
        let mut banner = demo();
        banner.shown = Shown::Files { root: "/home/ada/my site".into(), listing: false };
        let text = banner.text(Colour::Off, Some(Path::new("/home/ada")));
        assert!(
            text.starts_with("stagedoor 0.1.0   2 workers   files: ~/'my site'   listings off (--listing)\n"),
            "{text}"
        );
        banner.shown = Shown::Files { root: "/srv".into(), listing: true };
        assert!(banner.text(Colour::Off, None).contains("files: /srv   listings on\n"));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let painted = demo().text(Colour::On, None);
        assert!(painted.contains("\x1b[36m"));
        let mut plain = painted;
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, demo().text(Colour::Off, None));
    }

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        let home = Some(Path::new("/home/ada"));
        assert_eq!(shown_path(Path::new("/home/ada/a b"), home), "~/'a b'");
        assert_eq!(shown_path(Path::new("/it's"), home), r"'/it'\''s'");
        assert_eq!(shown_path(Path::new("/home/adam"), home), "/home/adam");
    }
}
