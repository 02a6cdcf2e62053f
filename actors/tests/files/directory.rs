//! [`Files`]: names, indexes, listings, kinds, codings, and every way out of the root that does not lead out.

use stagedoor_actors::files::{Directory, Encoding, Files, Symlinks};

use super::*;

/// A site with a secret beside it.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join(".well-known")).unwrap();
        std::fs::create_dir_all(root.join("with index")).unwrap();
        let site = Self { dir };
        std::fs::write(site.dir.path().join("secret"), "hunter2").unwrap();
        for (name, text) in [
            ("index.html", "<h1>root</h1>"),
            ("style.css", "body {}"),
            ("style.css.br", "br"),
            ("style.css.gz", "gz"),
            ("picture.png", "png"),
            ("picture.png.gz", "never"),
            ("LICENSE", "words"),
            ("sub/a.txt", "a"),
            ("with index/index.html", "<h1>inside</h1>"),
            (".git/config", "hunter2"),
            (".well-known/security.txt", "mail us"),
        ] {
            std::fs::write(site.path(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../secret", site.path("out")).unwrap();
        std::os::unix::fs::symlink("/etc", site.path("etc")).unwrap();
        std::os::unix::fs::symlink("sub/a.txt", site.path("in")).unwrap();
        std::os::unix::fs::symlink("loop", site.path("loop")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, site.path("fifo"), rustix::fs::Mode::RUSR).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    fn directory(&self) -> Directory {
        Directory::open(self.path("")).unwrap()
    }

    async fn ask(
        &self,
        directory: Directory,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Answer {
        let stage = Stage::new(Rc::new(Files::new(directory)));
        let mut send = client(&stage, 1 << 20).await;
        ask(&mut send, method, path, fields).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(self.directory(), Method::GET, path, &[]).await
    }
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(answer.octets()).unwrap()
}

#[test]
fn names_are_served_with_their_kinds() {
    run(async {
        let site = Site::new();
        for (path, kind, body) in [
            ("/", "text/html; charset=utf-8", "<h1>root</h1>"),
            ("/?query", "text/html; charset=utf-8", "<h1>root</h1>"),
            ("/style.css", "text/css; charset=utf-8", "body {}"),
            ("/%73tyle.css?v=1", "text/css; charset=utf-8", "body {}"),
            ("/picture.png", "image/png", "png"),
            ("/LICENSE", "application/octet-stream", "words"),
            ("/sub/a.txt", "text/plain; charset=utf-8", "a"),
            ("/in", "application/octet-stream", "a"),
            ("/with%20index/", "text/html; charset=utf-8", "<h1>inside</h1>"),
            ("/.well-known/security.txt", "text/plain; charset=utf-8", "mail us"),
        ] {
            let answer = site.get(path).await;
            assert_eq!((answer.status.as_u16(), text(&answer)), (200, body), "{path}");
            assert_eq!(
                (answer.header("content-type"), answer.header("x-content-type-options")),
                (kind, "nosniff")
            );
            assert_eq!(answer.header("content-length"), body.len().to_string());
        }
        let head = site.ask(site.directory(), Method::HEAD, "/style.css", &[]).await;
        assert_eq!((head.header("content-length"), head.octets().len()), ("7", 0));
        let part = site.ask(site.directory(), Method::GET, "/style.css", &[("range", "bytes=1-2")]).await;
        assert_eq!((part.status.as_u16(), text(&part)), (206, "od"));
    });
}

#[test]
fn a_directory_without_its_slash_is_redirected() {
    run(async {
        let site = Site::new();
        for (path, location) in
            [("/sub", "/sub/"), ("/sub?a=/b", "/sub/?a=/b"), ("/with%20index", "/with%20index/")]
        {
            let answer = site.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (301, location));
        }
        assert_eq!(site.get("/style.css/").await.status, 404, "and a file with one is none");
    });
}

#[test]
fn nothing_outside_of_the_root_is_served() {
    run(async {
        let site = Site::new();
        for (path, status) in [
            ("/../secret", 400),
            ("/..%2fsecret", 400),
            ("/%2e%2e/secret", 400),
            ("/sub/../../secret", 400),
            ("/..\\secret", 400),
            ("/sub%5c..%5c..%5csecret", 400),
            ("/style.css%00.png", 400),
            ("/%zz", 400),
            ("/%252e%252e/secret", 404),
            ("//etc/passwd", 404),
            ("//secret", 404),
            ("/sub//a.txt", 404),
            ("/.git/config", 404),
            ("/%2egit/config", 404),
            ("/none", 404),
            ("/style.css/x", 404),
            ("/out", 403),
            ("/etc/passwd", 403),
            ("/etc/", 403),
            ("/loop", 403),
            ("/fifo", 403),
            ("/sub/", 403),
        ] {
            let answer = raw_get(&site, path).await;
            assert_eq!(answer.0, status, "{path}");
            assert!(!answer.1.contains("hunter2") && !answer.1.contains("root:"), "{path}");
        }
        // A name too long to be one.
        let long = format!("/{}", "a".repeat(3_000));
        let answer = site.get(&long).await;
        assert_eq!(answer.status, 404);
        assert!(answer.octets().len() < 200, "what a client sent is not repeated at length");
        let refused = site.directory().symlinks(Symlinks::Refused);
        assert_eq!(site.ask(refused, Method::GET, "/in", &[]).await.status, 403);
        let shown = site.directory().hidden(true);
        assert_eq!(text(&site.ask(shown, Method::GET, "/.git/config", &[]).await), "hunter2");
    });
}

/// A request whose path no client library would send: status and body.
async fn raw_get(site: &Site, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stage = Stage::new(Rc::new(Files::new(site.directory())));
    let (_session, mut io) = stage.connect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn listings_are_asked_for() {
    run(async {
        let site = Site::new();
        let listed = site.ask(site.directory().listing(true), Method::GET, "/sub/", &[]).await;
        assert_eq!(
            (listed.status.as_u16(), listed.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        assert!(
            text(&listed).contains("<h1>/sub/</h1>")
                && text(&listed).contains("<a href=\"./a.txt\">a.txt</a>")
        );
        assert!(text(&listed).contains("<a href=\"./deep/\">deep/</a>"));
        assert!(listed.header("content-security-policy").starts_with("default-src 'none'"));
        let root = site.ask(site.directory().listing(true).index([""; 0]), Method::GET, "/", &[]).await;
        assert!(!text(&root).contains("../"), "there is nothing above the root");
        assert!(!text(&root).contains(".git") && !text(&root).contains("fifo"));
        let head = site.ask(site.directory().listing(true), Method::HEAD, "/sub/", &[]).await;
        assert_eq!((head.status.as_u16(), head.octets().len()), (200, 0));
    });
}

#[test]
fn the_coding_a_client_likes_best_is_sent() {
    run(async {
        let site = Site::new();
        let css = async |accept: &str, precompressed: &[Encoding]| {
            let directory = site.directory().precompressed(precompressed.iter().copied());
            let answer = site.ask(directory, Method::GET, "/style.css", &[("accept-encoding", accept)]).await;
            let said = answer.header("content-encoding").to_owned();
            (said, text(&answer).to_owned(), answer.header("vary").to_owned())
        };
        let all = &Encoding::ALL[..];
        let of = |coding: &str, body: &str, vary: &str| (coding.to_owned(), body.to_owned(), vary.to_owned());
        assert_eq!(css("gzip, br, zstd", all).await, of("br", "br", "accept-encoding"));
        assert_eq!(css("gzip, br;q=0.5", all).await, of("gzip", "gz", "accept-encoding"));
        assert_eq!(css("zstd", all).await, of("", "body {}", "accept-encoding"), "there is none");
        assert_eq!(css("br;q=0", all).await, of("", "body {}", "accept-encoding"));
        assert_eq!(css("br", &[Encoding::Gzip]).await, of("", "body {}", "accept-encoding"));
        assert_eq!(css("br", &[]).await, of("", "body {}", ""));
        let plain = site.get("/style.css").await;
        let brotli =
            site.ask(site.directory(), Method::GET, "/style.css", &[("accept-encoding", "br")]).await;
        assert_eq!(plain.header("vary"), "accept-encoding");
        assert_ne!(plain.header("etag"), brotli.header("etag"), "they are not the same octets");
        assert_eq!(brotli.header("content-type"), "text/css; charset=utf-8");
        let png =
            site.ask(site.directory(), Method::GET, "/picture.png", &[("accept-encoding", "gzip")]).await;
        assert_eq!((text(&png), png.header("vary")), ("png", ""), "a picture does not shrink");
    });
}

#[test]
fn a_sibling_older_than_its_file_is_not_sent() {
    run(async {
        let site = Site::new();
        let old = File::options().write(true).open(site.path("style.css.br")).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let answer =
            site.ask(site.directory(), Method::GET, "/style.css", &[("accept-encoding", "br")]).await;
        assert_eq!(text(&answer), "body {}");
    });
}

#[test]
fn a_file_that_changed_is_seen_at_once() {
    run(async {
        let site = Site::new();
        let stage = Stage::new(Rc::new(Files::new(site.directory())));
        let mut send = client(&stage, 1 << 20).await;
        for body in ["first", "other", "a longer one", ""] {
            std::fs::write(site.path("sub/a.txt"), body).unwrap();
            assert_eq!(text(&ask(&mut send, Method::GET, "/sub/a.txt", &[]).await), body);
            // And one that takes its place.
            std::fs::write(site.path("new"), format!("{body}!")).unwrap();
            std::fs::rename(site.path("new"), site.path("sub/a.txt")).unwrap();
            assert_eq!(text(&ask(&mut send, Method::GET, "/sub/a.txt", &[]).await), format!("{body}!"));
        }
        std::fs::remove_file(site.path("sub/a.txt")).unwrap();
        assert_eq!(ask(&mut send, Method::GET, "/sub/a.txt", &[]).await.status, 404);
    });
}

#[test]
fn a_root_that_is_replaced_is_seen_within_a_second() {
    run_paused(async {
        let site = Site::new();
        let (one, two, link) = (site.path("one"), site.path("two"), site.path("current"));
        for (root, text) in [(&one, "1"), (&two, "2")] {
            std::fs::create_dir(root).unwrap();
            std::fs::write(root.join("version"), text).unwrap();
        }
        std::os::unix::fs::symlink("one", &link).unwrap();
        let stage = Stage::new(Rc::new(Files::new(Directory::open(&link).unwrap())));
        let mut send = client(&stage, 1 << 20).await;
        assert_eq!(text(&ask(&mut send, Method::GET, "/version", &[]).await), "1");
        std::os::unix::fs::symlink("two", site.path("next")).unwrap();
        std::fs::rename(site.path("next"), &link).unwrap();
        tokio::time::advance(Duration::from_millis(1_001)).await;
        assert_eq!(text(&ask(&mut send, Method::GET, "/version", &[]).await), "2");
    });
}

#[test]
fn other_methods_are_405_and_options_says_which() {
    run(async {
        let site = Site::new();
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = site.ask(site.directory(), method, "/style.css", &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
        }
        let answer = site.ask(site.directory(), Method::OPTIONS, "/style.css", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET, HEAD, OPTIONS"));
    });
}

#[test]
fn a_mounted_directory_answers_below_its_prefix_alone() {
    run(async {
        let site = Site::new();
        let mounted = || site.directory().mount("/files").cache_control("public, max-age=60");
        let index = site.ask(mounted(), Method::GET, "/files/", &[]).await;
        assert_eq!((text(&index), index.header("cache-control")), ("<h1>root</h1>", "public, max-age=60"));
        let bare = site.ask(mounted(), Method::GET, "/files", &[]).await;
        assert_eq!((bare.status.as_u16(), bare.header("location")), (301, "/files/"));
        assert_eq!(
            site.ask(mounted(), Method::GET, "/files/sub", &[]).await.header("location"),
            "/files/sub/"
        );
        for path in ["/", "/style.css", "/filesx", "/files//style.css"] {
            assert_eq!(site.ask(mounted(), Method::GET, path, &[]).await.status, 404, "{path}");
        }
    });
}

#[test]
fn conditions_are_answered_for_an_index_too() {
    run(async {
        let site = Site::new();
        let first = site.get("/").await;
        let tag = first.header("etag");
        let again = site.ask(site.directory(), Method::GET, "/", &[("if-none-match", tag)]).await;
        assert_eq!((again.status.as_u16(), again.octets().len()), (304, 0));
        assert_eq!(again.header("vary"), "accept-encoding");
    });
}
