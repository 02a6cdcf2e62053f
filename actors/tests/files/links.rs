//! Links that lead out, what is no file, and names that are exchanged while they are looked up: the kernel holds the
//! root, so none of it is a race that somebody can win.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use stagedoor_actors::Response;
use stagedoor_actors::files::{Directory, Files, Symlinks};

use super::hostile::{SECRET, Tree};
use super::meddler::Meddler;
use super::*;

/// A tree with links of every kind.
fn tree() -> Tree {
    let tree = Tree::new();
    let link = |to: &str, name: &str| symlink(to, tree.path(name)).unwrap();
    link("file", "in");
    link("sub/name", "below");
    link("../file", "sub/up");
    link("sub", "door");
    link(".", "self");
    link("in", "second");
    link("second", "third");
    link("../secret", "out");
    link("../../secret", "sub/out");
    link("out", "far");
    link("../outside", "gate");
    link("..", "above");
    link("../root/file", "around");
    link("/etc/passwd", "absolute");
    link("/proc/self/root", "magic");
    link("loop", "loop");
    link("pong", "ping");
    link("ping", "pong");
    link("nowhere", "dangling");
    symlink(tree.path("file"), tree.path("home")).unwrap();
    for step in 0..50 {
        symlink(format!("step{}", step + 1), tree.path(&format!("step{step}"))).unwrap();
    }
    tree
}

async fn client_of(directory: Directory) -> (Stage, SendRequest<Bytes>) {
    let stage = Stage::new(Rc::new(Files::new(directory)));
    let send = client(&stage, 1 << 20).await;
    (stage, send)
}

/// The status, of an answer that has nothing from outside in it.
async fn status(send: &mut SendRequest<Bytes>, path: &str) -> u16 {
    let answer = ask(send, Method::GET, path, &[]).await;
    let text = String::from_utf8_lossy(answer.octets());
    assert!(!text.contains(SECRET) && !text.contains("root:"), "{path}");
    if answer.status == 200 && !text.starts_with('<') {
        assert_eq!(text, "inside", "{path}");
    }
    answer.status.as_u16()
}

#[test]
fn links_are_followed_below_the_root_and_nowhere_else() {
    run(async {
        let tree = tree();
        let (_stage, mut send) = client_of(tree.directory()).await;
        for (path, expected) in [
            ("/in", 200),
            ("/below", 200),
            ("/sub/up", 200),
            ("/door/name", 200),
            ("/door/up", 200),
            ("/third", 200),
            ("/self/self/self/door/name", 200),
            ("/door", 301),
            ("/out", 403),
            ("/sub/out", 403),
            ("/door/out", 403),
            ("/far", 403),
            ("/gate", 403),
            ("/gate/", 403),
            ("/gate/name", 403),
            ("/above/secret", 403),
            ("/above/root/file", 403),
            ("/self/above/secret", 403),
            // Out and in again is out.
            ("/around", 403),
            // An absolute one leaves, though it points back.
            ("/home", 403),
            ("/absolute", 403),
            ("/magic/etc/passwd", 403),
            ("/loop", 403),
            ("/ping", 403),
            ("/ping/x", 403),
            ("/step0", 403),
            ("/dangling", 404),
            ("/dangling/x", 404),
        ] {
            assert_eq!(status(&mut send, path).await, expected, "{path}");
        }
        let (_stage, mut send) = client_of(tree.directory().symlinks(Symlinks::Refused)).await;
        for path in ["/in", "/sub/up", "/door/name", "/door", "/out", "/gate/name", "/dangling", "/loop"] {
            assert_eq!(status(&mut send, path).await, 403, "{path}");
        }
        assert_eq!(status(&mut send, "/sub/name").await, 200);
    });
}

#[test]
fn an_index_and_a_sibling_are_no_way_out_either() {
    run(async {
        let tree = Tree::new();
        symlink("../../secret", tree.path("sub/index.html")).unwrap();
        std::fs::write(tree.path("page.css"), "inside").unwrap();
        symlink("../secret", tree.path("page.css.br")).unwrap();
        symlink("/etc/passwd", tree.path("page.css.gz")).unwrap();
        mkfifoat(CWD, tree.path("page.css.zst"), Mode::RUSR | Mode::WUSR).unwrap();
        let (_stage, mut send) = client_of(tree.directory()).await;
        assert_eq!(status(&mut send, "/sub/").await, 403);
        let answer = ask(&mut send, Method::GET, "/page.css", &[("accept-encoding", "br, gzip, zstd")]).await;
        assert_eq!((answer.status.as_u16(), answer.octets()), (200, &b"inside"[..]));
        assert!(!answer.headers.contains_key("content-encoding"));
    });
}

/// Every name in a page.
fn names(page: &[u8]) -> Vec<String> {
    let page = std::str::from_utf8(page).unwrap();
    page.split("href=\"./").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn a_listing_says_nothing_of_what_lies_outside() {
    run(async {
        let tree = tree();
        let list = async |directory: Directory, path: &str| {
            let (_stage, mut send) = client_of(directory.listing(true)).await;
            let answer = ask(&mut send, Method::GET, path, &[]).await;
            assert_eq!(answer.status, 200, "{path}");
            names(answer.octets())
        };
        let shown = list(tree.directory(), "/").await;
        assert_eq!(shown, ["door/", "self/", "sub/", "below", "file", "in", "second", "third"]);
        assert_eq!(list(tree.directory(), "/sub/").await, ["name", "up"]);
        assert_eq!(list(tree.directory(), "/door/").await, ["name", "up"]);
        let refused = || tree.directory().symlinks(Symlinks::Refused);
        assert_eq!(list(refused(), "/").await, ["sub/", "file"]);
        assert_eq!(list(refused(), "/sub/").await, ["name"]);
    });
}

/// `/proc` has links that lead to open files whatever their text says, and says of its files that they are empty.
#[test]
fn links_of_the_kernel_lead_nowhere() {
    run(async {
        let tree = Tree::new();
        let open = File::open(tree.dir.path().join("secret")).unwrap();
        let (_stage, mut send) = client_of(Directory::open("/proc").unwrap().listing(true)).await;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
        for path in [
            "/self/root/etc/passwd",
            "/self/root/",
            "/self/cwd/Cargo.toml",
            "/self/cwd/",
            "/self/exe",
            "/self/ns/net",
            "/1/root/etc/passwd",
            &format!("/self/fd/{fd}"),
            &format!("/{}/fd/{fd}", std::process::id()),
            &format!("/self/task/{}/cwd/", std::process::id()),
        ] {
            assert_eq!(status(&mut send, path).await, 403, "{path}");
        }
        let answer = ask(&mut send, Method::GET, "/self/status", &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.octets().len()),
            (200, 0),
            "a link that is a link is followed"
        );
        let answer = ask(&mut send, Method::GET, "/self/fd/", &[]).await;
        assert_eq!(names(answer.octets()), [""; 0], "nor does a listing look behind them");
    });
}

#[test]
fn what_is_no_file_is_403_at_once() {
    run(async {
        let tree = Tree::new();
        mkfifoat(CWD, tree.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        mkfifoat(CWD, tree.path("written"), Mode::RUSR | Mode::WUSR).unwrap();
        symlink("fifo", tree.path("link")).unwrap();
        let _socket = UnixListener::bind(tree.path("socket")).unwrap();
        // Someone writes to this one.
        let mut writer = File::options().read(true).write(true).open(tree.path("written")).unwrap();
        writer.write_all(SECRET.as_bytes()).unwrap();
        let (_stage, mut send) = client_of(tree.directory()).await;
        for path in ["/fifo", "/written", "/link", "/socket"] {
            assert_eq!(status(&mut send, path).await, 403, "{path}");
        }
        for path in ["/fifo/", "/socket/", "/fifo/x"] {
            assert_eq!(status(&mut send, path).await, 404, "{path}");
        }
        let (_stage, mut send) = client_of(Directory::open("/dev").unwrap().listing(true)).await;
        for path in ["/null", "/zero", "/full", "/random", "/urandom", "/tty", "/stdin", "/fd/0", "/fd/"] {
            assert_eq!(status(&mut send, path).await, 403, "{path}");
        }
        let listed = names(ask(&mut send, Method::GET, "/", &[]).await.octets());
        assert!(!listed.iter().any(|name| ["null", "zero", "tty", "stdin", "fd/"].contains(&name.as_str())));
    });
}

#[test]
fn a_fifo_that_says_nothing_holds_up_nobody() {
    run(async {
        let tree = Tree::new();
        let path = tree.path("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let of = path.clone();
        let stage = Stage::new(service(move |request| match request.head.path() {
            Some("/fifo") => FileResponse::path(&of).allow_special(true).answer(&request.head),
            _ => Response::text("neighbour").into(),
        }));
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        let mut send = client(&stage, 65_535).await;
        let request = Request::get("http://a/fifo").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        for _ in 0..100 {
            // On the same session and on another one of the same arbiter.
            assert_eq!(ask(&mut send, Method::GET, "/", &[]).await.octets(), b"neighbour");
        }
        let mut other = client(&stage, 65_535).await;
        assert_eq!(ask(&mut other, Method::GET, "/", &[]).await.octets(), b"neighbour");
        writer.write_all(b"at last").unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), &b"at last"[..]);
        drop(writer);
        assert!(body.data().await.is_none_or(|rest| rest.unwrap().is_empty()));
    });
}

/// Asks until each of `expected` was answered a few times, and something else never.
async fn ask_meanwhile(tree: &Tree, path: &str, expected: &[u16]) {
    let (_stage, mut send) = client_of(tree.directory()).await;
    let mut counts = vec![0; expected.len()];
    for asked in 0.. {
        let status = status(&mut send, path).await;
        let place = expected.iter().position(|one| *one == status);
        counts[place.unwrap_or_else(|| panic!("{path}: {status} after {asked}"))] += 1;
        if asked >= 2_000 && counts.iter().all(|count| *count >= 20) {
            return;
        }
        assert!(asked < 500_000, "{path}: {counts:?} of {expected:?}");
    }
}

fn exchange(one: PathBuf, other: PathBuf) -> Meddler {
    Meddler::new(move || renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap())
}

#[test]
fn a_file_exchanged_for_a_link_is_the_file_or_refused() {
    run(async {
        let tree = Tree::new();
        symlink("../secret", tree.path("other")).unwrap();
        let meddler = exchange(tree.path("file"), tree.path("other"));
        ask_meanwhile(&tree, "/file", &[200, 403]).await;
        assert!(meddler.end() > 1_000);
    });
}

#[test]
fn a_directory_exchanged_for_a_link_is_the_directory_or_refused() {
    run(async {
        let tree = Tree::new();
        symlink("../outside", tree.path("other")).unwrap();
        let meddler = exchange(tree.path("sub"), tree.path("other"));
        ask_meanwhile(&tree, "/sub/name", &[200, 403]).await;
        assert!(meddler.end() > 1_000);
    });
}

/// `..` of a link inside is what lies above the directory when it is followed.
#[test]
fn a_directory_moved_out_of_the_root_takes_nobody_with_it() {
    run(async {
        let tree = Tree::new();
        symlink("../file", tree.path("sub/up")).unwrap();
        std::fs::write(tree.dir.path().join("outside/file"), SECRET).unwrap();
        let (inside, outside) = (tree.path("sub"), tree.dir.path().join("outside/sub"));
        let meddler = Meddler::new(move || {
            std::fs::rename(&inside, &outside).unwrap();
            std::fs::rename(&outside, &inside).unwrap();
        });
        ask_meanwhile(&tree, "/sub/up", &[200, 404]).await;
        assert!(meddler.end() > 1_000);
    });
}

/// The kernel gives up on `..` when anything at all was renamed meanwhile (openat2(2), EAGAIN).
#[test]
fn whoever_renames_elsewhere_does_not_disturb_a_link() {
    run(async {
        let tree = Tree::new();
        symlink("../file", tree.path("sub/up")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (one, other) = (elsewhere.path().join("one"), elsewhere.path().join("other"));
        std::fs::write(&one, "").unwrap();
        std::fs::write(&other, "").unwrap();
        let meddler = exchange(one, other);
        ask_meanwhile(&tree, "/sub/up", &[200]).await;
        assert!(meddler.end() > 1_000);
    });
}
