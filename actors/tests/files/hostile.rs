//! Paths made to climb out, to be read as something else or to break what reads them: over HTTP/2 as octets no client
//! library would send, over HTTP/1.1 in every form of a target. Links and special files are in `links.rs`, files that
//! change in `changing.rs`.

use std::os::unix::ffi::OsStrExt as _;

use stagedoor_actors::files::{Directory, Files};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What lies beside the root, and must never be seen.
pub(crate) const SECRET: &str = "hunter2";

/// A tree with its secret: `root` is what is served.
pub(crate) struct Tree {
    pub(crate) dir: TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/sub")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("secret"), SECRET).unwrap();
        std::fs::write(dir.path().join("outside/name"), SECRET).unwrap();
        std::fs::write(dir.path().join("root/file"), "inside").unwrap();
        std::fs::write(dir.path().join("root/sub/name"), "inside").unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open(self.path("")).unwrap()
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(Rc::new(Files::new(self.directory())))
    }
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// Status and body.
    Answer(u16, String),
    /// RST_STREAM with this code.
    Reset(u32),
}

impl Got {
    fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            Self::Reset(_) => 0,
        }
    }

    fn body(&self) -> &str {
        match self {
            Self::Answer(_, body) => body,
            Self::Reset(_) => "",
        }
    }
}

/// `GET` of a path, whatever its octets are, in literal fields; frames of 16 KiB at most.
async fn over_h2(stage: &Stage, path: &[u8]) -> Got {
    let (_session, io) = stage.connect();
    let mut raw = Raw::new(io);
    raw.shake().await;
    let mut block = vec![0x82, 0x86, 0x41, 1, b'a', 0x04];
    match path.len() {
        short @ 0..127 => block.push(short as u8),
        // An integer of seven bits that goes on (RFC 7541 §5.1).
        long => {
            let mut rest = long - 127;
            block.push(0x7f);
            while rest >= 128 {
                block.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend(path);
    let mut pieces = block.chunks(16_384).peekable();
    let mut kind = 1;
    while let Some(piece) = pieces.next() {
        let flags = u8::from(kind == 1) | if pieces.peek().is_none() { 4 } else { 0 };
        raw.send(&frame(kind, flags, 1, piece)).await;
        kind = 9;
    }
    let mut answer: Option<(u16, Vec<u8>)> = None;
    loop {
        let frame = raw.next().await.expect("the session lives");
        match (frame.kind, &mut answer) {
            (1, None) => answer = Some((status_of(&frame.payload), Vec::new())),
            (0, Some((_, body))) => body.extend(&frame.payload),
            (3, _) => return Got::Reset(u32::from_be_bytes(frame.payload[..4].try_into().unwrap())),
            _ => continue,
        }
        if frame.flags & 1 != 0 {
            let (status, body) = answer.expect("a head comes first");
            return Got::Answer(status, String::from_utf8(body).unwrap());
        }
    }
}

/// The status stands first in a block, as an entry of the static table or as a literal with its name.
fn status_of(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        // Huffman-coded digits are five bits for 0 to 2, six for the others (RFC 7541 appendix B).
        [_, length, rest @ ..] if length & 0x80 != 0 => {
            let mut bits = rest.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1));
            let mut take = |count| bits.by_ref().take(count).fold(0, |sum, bit| sum << 1 | u16::from(bit));
            (0..3).fold(0, |sum, _| {
                let five = take(5);
                let digit = if five < 3 { five } else { (five << 1 | take(1)) - 0x19 + 3 };
                sum * 10 + digit
            })
        }
        [_, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        other => panic!("no status in {other:x?}"),
    }
}

/// All that HTTP/1.1 answers to `GET` of a target, whatever its octets are.
async fn exchange(stage: &Stage, target: &[u8]) -> String {
    let (_session, mut io) = stage.connect();
    let request = [b"GET ", target, b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat();
    // A session that has heard enough need not read all of it.
    io.write_all(&request).await.ok();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn over_h1(stage: &Stage, target: &[u8]) -> Got {
    let answer = exchange(stage, target).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    Got::Answer(head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What is asked, and how HTTP/2 and HTTP/1.1 answer; 0 is a reset.
const PATHS: &[(&[u8], u16, u16)] = &[
    // Dot segments, plain and encoded, whole and in part.
    (b"/../secret", 400, 400),
    (b"/..", 400, 400),
    (b"/.", 400, 400),
    (b"/./file", 400, 400),
    (b"/sub/..", 400, 400),
    (b"/sub/../../secret", 400, 400),
    (b"/sub/../../../../../../../../etc/passwd", 400, 400),
    (b"/%2e%2e/secret", 400, 400),
    (b"/%2E./secret", 400, 400),
    (b"/.%2e/secret", 400, 400),
    (b"/%2e/file", 400, 400),
    (b"/..%2fsecret", 400, 400),
    (b"/..%2Fsecret", 400, 400),
    (b"/%2e%2e%2fsecret", 400, 400),
    (b"/%2fetc%2fpasswd", 400, 400),
    (b"/%2f", 400, 400),
    (b"/sub%2fname", 400, 400),
    // What another reader takes for a slash.
    (b"/..\\secret", 400, 400),
    (b"\\..\\secret", 0, 400),
    (b"/..%5csecret", 400, 400),
    (b"/..%5Csecret", 400, 400),
    (b"/%5c%5cserver%5cshare", 400, 400),
    // Decoded once: what is left of a second coding is a name, and none that is there.
    (b"/%252e%252e/secret", 404, 404),
    (b"/..%252fsecret", 404, 404),
    (b"/%25252e%25252e/secret", 404, 404),
    // No UTF-8 that is longer than it must be is a dot or a slash; names are octets.
    (b"/%c0%ae%c0%ae/secret", 404, 404),
    (b"/%c0%ae%c0%ae%c0%afsecret", 404, 404),
    (b"/%e0%80%ae%e0%80%ae/secret", 404, 404),
    (b"/..%c0%afsecret", 404, 404),
    (b"/..%ef%bc%8fsecret", 404, 404),
    (b"/\xef\xbc\x8e\xef\xbc\x8e/secret", 404, 404),
    // As octets they are no path at all.
    (b"/\xc0\xae\xc0\xae/secret", 0, 400),
    (b"/\xff\xfe", 0, 400),
    // NUL and other octets that end or split something.
    (b"/file%00", 400, 400),
    (b"/file%00.png", 400, 400),
    (b"/%00", 400, 400),
    (b"/file%0d%0aset-cookie:%20a=b", 404, 404),
    (b"/file%0a", 404, 404),
    (b"/%7f%01%1b%5b31m", 404, 404),
    (b"/file\x00", 0, 400),
    (b"/fi\x01le", 0, 400),
    (b"/file\x7f", 0, 400),
    (b"/fi\tle", 0, 400),
    // Percent signs without what belongs behind them.
    (b"/%", 400, 400),
    (b"/%2", 400, 400),
    (b"/%zz", 400, 400),
    (b"/%2g", 400, 400),
    (b"/% 2e", 0, 400),
    (b"/%u002e%u002e/secret", 400, 400),
    (b"/%+2e%+2e/secret", 400, 400),
    (b"/%-1", 400, 400),
    // Slashes that are too many.
    (b"//secret", 404, 404),
    (b"//etc/passwd", 404, 404),
    (b"///", 404, 404),
    (b"//", 404, 404),
    (b"/sub//name", 404, 404),
    (b"/file/", 404, 404),
    (b"/file//", 404, 404),
    (b"/file/x", 404, 404),
    (b"/file/../file", 400, 400),
    // Dots and blanks that other systems drop.
    (b"/file.", 404, 404),
    (b"/file%20", 404, 404),
    (b"/file...", 404, 404),
    (b"/...", 404, 404),
    (b"/..../secret", 404, 404),
    (b"/..%20/secret", 404, 404),
    (b"/..;/secret", 404, 404),
    (b"/sub/..;a=b/..;/secret", 404, 404),
    (b"/file::$DATA", 404, 404),
    (b"/file;a=b", 404, 404),
    (b"/~root/", 404, 404),
    (b"/%7eroot", 404, 404),
    (b"/$HOME", 404, 404),
    (b"/*", 404, 404),
    // Hidden names.
    (b"/.git/config", 404, 404),
    (b"/%2egit/config", 404, 404),
    (b"/sub/.hidden", 404, 404),
    // What is a query, and what cannot come.
    (b"/file?", 200, 200),
    (b"/file?/../../secret", 200, 200),
    (b"/file?%00", 200, 200),
    (b"/?/file", 403, 403),
    (b"?", 0, 400),
    (b"?file", 0, 400),
    (b"/file#x", 0, 200),
    (b"/#/../secret", 0, 403),
    // Roots of other kinds.
    (b"", 0, 400),
    (b"*", 0, 400),
    (b"file", 0, 400),
    (b"../secret", 0, 400),
    (b"C:/windows", 0, 400),
    (b"file:///etc/passwd", 0, 400),
];

#[test]
fn no_path_leads_out_and_each_is_answered_for_what_it_is() {
    run(async {
        let tree = Tree::new();
        let stage = tree.stage();
        let mut wrong = Vec::new();
        for (path, h2, h1) in PATHS {
            let got = over_h2(&stage, path).await;
            if got.status() != *h2 {
                wrong.push(format!("h2 {:?} {} {got:?}", path.escape_ascii().to_string(), h2));
            }
            if let Got::Reset(code) = got {
                assert_eq!(code, 1, "PROTOCOL_ERROR for {:?}", path.escape_ascii().to_string());
            }
            let other = over_h1(&stage, path).await;
            if other.status() != *h1 {
                wrong.push(format!("h1 {:?} {} {other:?}", path.escape_ascii().to_string(), h1));
            }
            for got in [&got, &other] {
                assert!(!got.body().contains(SECRET) && !got.body().contains("root:"), "{got:?}");
                assert!(got.body().len() < 300, "a refusal is short: {got:?}");
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn names_and_paths_of_any_length_are_answered_shortly() {
    run(async {
        let tree = Tree::new();
        let stage = tree.stage();
        // The longest name a file may have is there, one octet more can be none.
        let longest = "n".repeat(255);
        std::fs::write(tree.path(&longest), "inside").unwrap();
        let nested = format!("/{}", ["d"; 2_000].join("/"));
        let deep = format!("/{}", ["d"; 10_000].join("/"));
        let dots = format!("/{}secret", "%2e%2e/".repeat(4_000));
        for (path, status) in [
            (format!("/{longest}"), 200),
            (format!("/{longest}n"), 404),
            (format!("/{}", "%6e".repeat(255)), 200),
            (format!("/{}", "%6e".repeat(256)), 404),
            (format!("/sub/{}", "x".repeat(4_096)), 404),
            (format!("/{}", "x".repeat(30_000)), 404),
            (format!("/{}", "%41".repeat(10_000)), 404),
            (format!("/file?{}", "q".repeat(30_000)), 200),
            (nested, 404),
            (deep, 404),
            (dots, 400),
        ] {
            let octets = path.as_bytes();
            for got in [over_h2(&stage, octets).await, over_h1(&stage, octets).await] {
                assert_eq!(got.status(), status, "{}...", &path[..20]);
                assert!(got.body().len() < 300, "what a client sent is not repeated at length");
            }
        }
        // What no path may be in length is refused with the head it stands in.
        let endless = format!("/{}", "x".repeat(40_000));
        assert_eq!(over_h2(&stage, endless.as_bytes()).await.status(), 431);
        assert_eq!(over_h1(&stage, endless.as_bytes()).await.status(), 431);
    });
}

#[test]
fn targets_in_absolute_form_are_paths_below_the_same_root() {
    run(async {
        let tree = Tree::new();
        let stage = tree.stage();
        for (target, status) in [
            ("http://a/file", 200),
            ("http://a:80/file?q", 200),
            ("http://other.example/file", 200),
            ("HTTP://A/file", 200),
            ("https://a/file", 200),
            ("http://a/../secret", 400),
            ("http://a/%2e%2e/secret", 400),
            ("http://a/..%2fsecret", 400),
            ("http://a//etc/passwd", 404),
            ("http://a/.git/config", 404),
            ("http://a", 403),
            ("http://a?file", 403),
            ("http://../secret", 404),
            ("http:///../secret", 400),
            ("http:/file", 400),
            ("http:file", 400),
            ("//a/file", 404),
            ("//../secret", 404),
            ("a:80", 400),
        ] {
            let got = over_h1(&stage, target.as_bytes()).await;
            assert_eq!(got.status(), status, "{target}: {got:?}");
            assert!(!got.body().contains(SECRET), "{target}");
        }
    });
}

#[test]
fn a_redirect_names_no_other_host_and_splits_nothing() {
    run(async {
        let tree = Tree::new();
        let names: [&[u8]; 5] = [b"a\r\nset-cookie: a=b", b"a:b", b"\xff", b"<b>", b"sp ace"];
        for name in names {
            std::fs::create_dir(tree.path("").join(std::ffi::OsStr::from_bytes(name))).unwrap();
        }
        let stage = tree.stage();
        let mut send = client(&stage, 1 << 20).await;
        for (path, location) in [
            ("/a%0d%0aset-cookie:%20a=b", "/a%0d%0aset-cookie:%20a=b/"),
            ("/a:b", "/a:b/"),
            ("/%ff?x=%0d%0a", "/%ff/?x=%0d%0a"),
            ("/%3Cb%3E", "/%3Cb%3E/"),
            ("/sub?//other.example/", "/sub/?//other.example/"),
        ] {
            let answer = ask(&mut send, Method::GET, path, &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (301, location), "{path}");
            assert!(!answer.headers.contains_key("set-cookie"));
        }
        // A path that would be another host behind `location` is never redirected to.
        for path in ["//other.example", "//other.example/", "/%2fother.example", "/\\other.example"] {
            let got = over_h1(&stage, path.as_bytes()).await;
            assert!(matches!(got.status(), 400 | 404), "{path}: {got:?}");
        }
    });
}

#[test]
fn what_is_said_of_a_path_is_plain_text() {
    run(async {
        let tree = Tree::new();
        let stage = tree.stage();
        for path in ["/%3Cscript%3E/..", "/%3Cb%3E", "/none\"{onload=x}", "/sub/?{x}", "/{b}\\", "/none\"//"]
        {
            let answer = exchange(&stage, path.as_bytes()).await;
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            assert!(["400", "403", "404"].contains(&&head[9..12]), "{path}: {answer}");
            assert!(head.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{path}: {answer}");
            assert!(head.contains("\r\nx-content-type-options: nosniff\r\n"), "{path}: {answer}");
        }
    });
}

/// Every `href` of a page.
fn links(page: &str) -> Vec<&str> {
    page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_listing_runs_nothing_and_its_links_lead_where_they_say() {
    run(async {
        let tree = Tree::new();
        let long = [b'l'; 255];
        let names: [&[u8]; 22] = [
            b"<script>alert(1)<",
            b"\"><img src=x onerror=alert(1)>",
            b"' onmouseover='alert(1)",
            b"<title><script>",
            b"&lt;b&gt;&amp;",
            b"javascript:alert(1)",
            b"data:text,x",
            b"http:",
            b"new\nline",
            b"re\r\nturn",
            b"tab\tand blank ",
            b"\xff\xfe no utf-8",
            b"\xe2\x80\xae turned",
            b"\x1b[31m",
            b"%2e%2e",
            b"-..%2f",
            b"question?x=y",
            b"hash#tag",
            b"semi;colon",
            b"--flag",
            b"{{7*7}}${x}",
            &long,
        ];
        let page_of = async |directory: Directory| {
            let stage = Stage::new(Rc::new(Files::new(directory)));
            let mut send = client(&stage, 1 << 20).await;
            let answer = ask(&mut send, Method::GET, "/names/", &[]).await;
            assert_eq!(answer.status, 200);
            let policy = answer.header("content-security-policy").to_owned();
            assert_eq!(policy, "default-src 'none'; base-uri 'none'; form-action 'none'");
            (String::from_utf8(answer.octets().to_vec()).unwrap(), send)
        };
        std::fs::create_dir(tree.path("names")).unwrap();
        for name in names {
            std::fs::write(tree.path("names").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        }
        let (page, mut send) = page_of(tree.directory().listing(true)).await;
        // Nothing but the elements of the page itself.
        for element in page.split('<').skip(1) {
            let name = element.split(['>', ' ']).next().unwrap();
            let known = [
                "!doctype", "html", "head", "/head", "meta", "title", "/title", "body", "/body", "h1", "/h1",
                "table", "/table", "tr", "/tr", "td", "/td", "a", "/a", "p", "/p", "/html",
            ];
            assert!(known.contains(&name), "<{element}");
            assert!(!element.split('>').next().unwrap().contains('\''), "<{element}");
        }
        assert!(!page.contains(['\u{1b}', '\u{202e}', '\r', '\t']) && !page.contains("new\nline"), "{page}");
        let links = links(&page);
        assert_eq!(links.len(), 1 + names.len(), "and the one that leads up: {page}");
        let mut seen = Vec::new();
        for link in &links[1..] {
            let name = link.strip_prefix("./").expect("no scheme can stand there");
            assert!(name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._~%".contains(&octet)));
            let answer = ask(&mut send, Method::GET, &format!("/names/{name}"), &[]).await;
            assert_eq!(answer.status, 200, "{name}");
            seen.push(answer.octets().to_vec());
        }
        seen.sort();
        let mut expected: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
        expected.sort();
        assert_eq!(seen, expected, "each link leads to its file");
    });
}

#[test]
fn hidden_names_are_nowhere_unless_asked_for() {
    run(async {
        let tree = Tree::new();
        std::fs::create_dir_all(tree.path(".git/refs")).unwrap();
        std::fs::create_dir_all(tree.path("sub/.well-known")).unwrap();
        for name in [".git/config", ".env", "sub/.env", "...", "sub/.well-known/x", ".well-known.txt"] {
            std::fs::write(tree.path(name), SECRET).unwrap();
        }
        let hidden = [
            "/.git/config",
            "/.git/",
            "/.git",
            "/.git/refs/",
            "/.env",
            "/sub/.env",
            "/%2eenv",
            "/%2Egit/config",
            "/...",
            "/.well-known.txt",
            "/.well-knowN/x",
        ];
        let stage = tree.stage();
        let mut send = client(&stage, 1 << 20).await;
        for path in hidden {
            let answer = ask(&mut send, Method::GET, path, &[]).await;
            assert_eq!(answer.status, 404, "{path}");
        }
        let known = ask(&mut send, Method::GET, "/sub/.well-known/x", &[]).await;
        assert_eq!(known.status, 200, "that name is meant for everybody (RFC 8615)");
        let listing = |hidden| {
            let directory = tree.directory().listing(true).hidden(hidden);
            async move {
                let stage = Stage::new(Rc::new(Files::new(directory)));
                let mut send = client(&stage, 1 << 20).await;
                let answer = ask(&mut send, Method::GET, "/", &[]).await;
                (String::from_utf8(answer.octets().to_vec()).unwrap(), send)
            }
        };
        let (page, _) = listing(false).await;
        assert!(!page.contains("./.") && page.contains("./file"), "{page}");
        let (page, mut send) = listing(true).await;
        assert!(page.contains("\"./.env\"") && page.contains("\"./.git/\"") && page.contains("\"./...\""));
        for path in ["/.git/config", "/.env", "/%2eenv", "/..."] {
            let answer = ask(&mut send, Method::GET, path, &[]).await;
            assert_eq!(answer.octets(), SECRET.as_bytes(), "{path}");
        }
        assert_eq!(
            ask(&mut send, Method::GET, "/%2e%2e/secret", &[]).await.status,
            400,
            "and `..` is no name"
        );
    });
}
