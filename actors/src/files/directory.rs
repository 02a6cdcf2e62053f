//! A directory as a service: [`Directory`] says what is served, [`Files`] serves it.
//!
//! A name is looked up below the root at once, from the kernel's caches, or on the blocking pool where it has to
//! look on the disk; the answer is the same. Files go out through the algorithm of [`super::FileResponse`].
//!
//! Invariant: nothing outside of the root is opened, however the path or a link in it looks.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use stagedoor_metrics::RouteId;
use stagedoor_protocol::RequestHead;

use super::body::Handle;
use super::contents::{self, Contents};
use super::encodings::{self, Encoding};
use super::listing::{self, Place};
use super::open::{self, How, Opened, Symlinks};
use super::response::{FileError, Options, respond, sentence};
use super::target::{Refused, Target};
use crate::body::Body;
use crate::clock;
use crate::service::{Reply, Request, Response, Service, ServiceFactory};

/// What the service takes.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// How long a root may be another directory before it is looked up anew.
const ROOT_AGE: Duration = Duration::from_secs(1);

/// What is served, and how. Cloned for every worker.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::files::Directory;
/// use stagedoor_metrics::RouteId;
///
/// # let root = tempfile::tempdir()?;
/// # let root = root.path();
/// std::fs::write(root.join("list.txt"), "tea\n")?;
/// let directory = Directory::open(root)?.mount("/static").cache_control("max-age=60");
/// let factory = directory.factory(RouteId::UNMATCHED, "static");
/// # let service = factory();
/// # let (_host, session) = in_memory(service)?;
/// let mut answer = session.send(http::Request::get("/static/list.txt").body(())?).await?;
/// assert_eq!(answer.headers()["cache-control"], "max-age=60");
/// assert_eq!(answer.body_mut().collect_up_to(100).await?, "tea\n");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    opened: Arc<OwnedFd>,
    mount: String,
    index: Vec<String>,
    listing: bool,
    hidden: bool,
    symlinks: Symlinks,
    precompressed: Vec<Encoding>,
    cache_control: Option<String>,
    cache: usize,
}

impl Directory {
    /// The directory `root`: `index.html` in it, no listings, no hidden names, precompressed siblings, links that
    /// stay below it. A root that is replaced (by a link that points elsewhere, say) is seen within a second.
    ///
    /// # Errors
    /// What the system says when it is opened; blocks meanwhile.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let opened = Arc::new(open::open_root(&root, How::Blocking)?);
        Ok(Self {
            root,
            opened,
            mount: String::new(),
            index: vec!["index.html".to_owned()],
            listing: false,
            hidden: false,
            symlinks: Symlinks::default(),
            precompressed: Encoding::ALL.to_vec(),
            cache_control: None,
            cache: contents::DEFAULT,
        })
    }

    /// Serves it under `prefix`, such as `/files`, and not at `/`.
    #[must_use]
    pub fn mount(mut self, prefix: impl Into<String>) -> Self {
        self.mount = prefix.into();
        self
    }

    /// Files that stand for the directory they are in, the first that is there; names without a slash.
    #[must_use]
    pub fn index<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.index = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether a directory without an index is listed.
    #[must_use]
    pub fn listing(mut self, listing: bool) -> Self {
        self.listing = listing;
        self
    }

    /// Whether names that begin with a dot are served. `.well-known` always is.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    /// What becomes of symbolic links.
    #[must_use]
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.symlinks = symlinks;
        self
    }

    /// Which precompressed siblings (`page.html.br`) are looked for, the one liked best first. One that is older
    /// than its file is not sent.
    #[must_use]
    pub fn precompressed(mut self, encodings: impl IntoIterator<Item = Encoding>) -> Self {
        self.precompressed = encodings.into_iter().collect();
        self
    }

    /// The value of `cache-control` for files; none by default, so that caches ask again by validator when they
    /// see fit.
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }

    /// How many octets of small files a worker keeps in memory, 16 MiB by default; 0 keeps none. A file of 256 KiB at
    /// most is kept when it is asked for twice within a second and did not change in the last two. Every request opens
    /// it all the same and compares size, modification and change time; a file that was written through a shared
    /// mapping, which need not change them, is seen within a second.
    #[must_use]
    pub fn cache(mut self, octets: usize) -> Self {
        self.cache = octets;
        self
    }

    /// Makes a service for every worker; its requests count under `route`, which people see as `name`.
    pub fn factory(self, route: RouteId, name: &'static str) -> ServiceFactory {
        Arc::new(move || Rc::new(Files::new(self.clone()).counted(route, name)))
    }

    /// Looks for what `target` names. [`open::would_block`] errors come with [`How::Cached`] alone.
    fn find(&self, root: &OwnedFd, ask: &Ask, how: How) -> io::Result<Found> {
        let target = &ask.target;
        if target.slash {
            return self.find_directory(root, ask, how);
        }
        let opened = self.below(root, &target.path, how)?;
        let kind = opened.stat.file_type();
        if kind.is_dir() {
            return Ok(Found::NeedsSlash);
        }
        if !kind.is_file() {
            return Ok(Found::Nothing(FileError::Special));
        }
        self.found(root, &target.path, opened, ask, how)
    }

    fn find_directory(&self, root: &OwnedFd, ask: &Ask, how: How) -> io::Result<Found> {
        let directory = &ask.target.path;
        for index in &self.index {
            let path = directory.join(index);
            match self.below(root, &path, how) {
                Ok(opened) if opened.stat.is_file() => return self.found(root, &path, opened, ask, how),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let opened = self.below(root, directory, how)?;
        if !opened.stat.is_dir() {
            return Ok(Found::Nothing(FileError::NotFound));
        }
        Ok(if self.listing {
            Found::List(opened, directory.clone())
        } else {
            Found::Nothing(FileError::Directory)
        })
    }

    /// The file, or the precompressed sibling of it that the client likes best.
    fn found(&self, root: &OwnedFd, path: &Path, plain: Opened, ask: &Ask, how: How) -> io::Result<Found> {
        let kind = Kind::of(path);
        let varies = kind.shrinks && !self.precompressed.is_empty();
        let mut sent = (plain, None);
        for encoding in ask.encodings.iter().filter(|_| varies) {
            let mut name = path.as_os_str().to_owned();
            name.push(encoding.suffix());
            match self.below(root, Path::new(&name), how) {
                Ok(sibling) if sibling.stat.is_file() && !is_older(&sibling.stat, &sent.0.stat) => {
                    sent = (sibling, Some(*encoding));
                    break;
                }
                Err(error) if open::would_block(&error) => return Err(error),
                // The file itself will do.
                Ok(_) | Err(_) => {}
            }
        }
        let (opened, encoding) = sent;
        Ok(Found::File { opened, kind, varies, encoding })
    }

    fn below(&self, root: &OwnedFd, path: &Path, how: How) -> io::Result<Opened> {
        open::open_beneath(root, path, self.symlinks, how)
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOENT.raw_os_error())
}

/// To the second: tools that copy trees do not all keep more.
fn is_older(sibling: &Metadata, file: &Metadata) -> bool {
    sibling.mtime() < file.mtime()
}

/// What a request wants of a directory.
#[derive(Clone, Debug)]
struct Ask {
    target: Target,
    encodings: Vec<Encoding>,
}

/// What lies there.
enum Found {
    File {
        opened: Opened,
        kind: Kind,
        varies: bool,
        encoding: Option<Encoding>,
    },
    /// A directory that was asked for as a file.
    NeedsSlash,
    /// A directory without an index, to be listed, and where below the root it lies.
    List(Opened, PathBuf),
    Nothing(FileError),
}

/// What a file is, by its name.
#[derive(Clone, Copy)]
struct Kind {
    media: &'static str,
    text: bool,
    /// Compression is worth while, so a sibling may lie beside it.
    shrinks: bool,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let media = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
        let text = media.starts_with("text/") || media == "application/javascript";
        let shrinks = text
            || media.ends_with("json")
            || media.ends_with("xml")
            || matches!(
                media,
                "application/wasm"
                    | "image/x-icon"
                    | "image/bmp"
                    | "font/ttf"
                    | "font/otf"
                    | "application/rtf"
            );
        Self { media, text, shrinks }
    }
}

/// Serves a [`Directory`]. One per worker.
///
/// ```
/// use stagedoor_actors::files::{Directory, Files};
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// /// Files, to be read and nothing else.
/// struct Site(Files);
///
/// impl Service for Site {
///     fn call(&self, request: Request) -> Reply {
///         match request.head.method() {
///             "GET" | "HEAD" => self.0.answer(&request.head),
///             _ => Response::new(405).into(),
///         }
///     }
/// }
///
/// let site = Site(Files::new(Directory::open(".")?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Files {
    directory: Arc<Directory>,
    root: Rc<RefCell<Arc<OwnedFd>>>,
    /// When the root was last looked up.
    looked: Cell<Option<Instant>>,
    contents: Option<Rc<RefCell<Contents>>>,
    route: RouteId,
    name: &'static str,
}

impl Files {
    /// Serves `directory`.
    pub fn new(directory: Directory) -> Self {
        let root = Rc::new(RefCell::new(Arc::clone(&directory.opened)));
        let contents = (directory.cache > 0).then(|| Rc::new(RefCell::new(Contents::new(directory.cache))));
        let directory = Arc::new(directory);
        let looked = Cell::new(None);
        Self { directory, root, looked, contents, route: RouteId::UNMATCHED, name: "_unmatched" }
    }

    /// Counts its requests under `route`, which people see as `name`.
    #[must_use]
    pub fn counted(mut self, route: RouteId, name: &'static str) -> Self {
        (self.route, self.name) = (route, name);
        self
    }

    /// The answer to the request with this `head`.
    pub fn answer(&self, head: &RequestHead) -> Reply {
        let target = head.path().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        match head.method() {
            "GET" | "HEAD" => {}
            "OPTIONS" => return Response::new(204).with_field("allow", METHODS).into(),
            method => return not_allowed(method, path).into(),
        }
        let below = match path.strip_prefix(self.directory.mount.as_str()) {
            Some("") => return with_slash(target, path).into(),
            Some(below) => below,
            None => return not_found(path).into(),
        };
        let target = match Target::parse(below, self.directory.hidden) {
            Ok(target) => target,
            Err(Refused::Bad(words)) => return sentence(400, words.to_owned()).into(),
            Err(Refused::Absent) => return not_found(path).into(),
        };
        let encodings = encodings::accepted(head.fields(), &self.directory.precompressed);
        let ask = Ask { target, encodings };
        let directory = Arc::clone(&self.directory);
        let known = self.root();
        let found = match &known {
            Root::Known(root) => directory.find(root, &ask, How::Cached),
            Root::Stale(_) => Err(io::ErrorKind::WouldBlock.into()),
        };
        match found {
            Err(error) if open::would_block(&error) => {
                let (head, kept) = (head.clone(), Rc::clone(&self.root));
                let contents = self.contents.clone();
                Reply::later(async move {
                    let site = Arc::clone(&directory);
                    // Dropped while it runs, the task closes what it opened.
                    let found = tokio::task::spawn_blocking(move || {
                        let root = known.blocking(&directory.root);
                        let found = directory.find(&root, &ask, How::Blocking);
                        (root, found)
                    });
                    match found.await {
                        Ok((root, found)) => {
                            *kept.borrow_mut() = Arc::clone(&root);
                            finish(site, root, found, head, contents).await
                        }
                        Err(error) => site.reply(Err(io::Error::other(error)), &head, contents),
                    }
                })
            }
            Ok(found @ Found::List(..)) => {
                Reply::later(finish(directory, known.held(), Ok(found), head.clone(), None))
            }
            found => directory.reply(found, head, self.contents.clone()).into(),
        }
    }

    /// The root; once a second it is looked up anew.
    fn root(&self) -> Root {
        let now = clock::now();
        if self.looked.get().is_none_or(|looked| now.saturating_duration_since(looked) >= ROOT_AGE) {
            self.looked.set(Some(now));
            match open::open_root(&self.directory.root, How::Cached) {
                Ok(root) => *self.root.borrow_mut() = Arc::new(root),
                Err(error) if open::would_block(&error) => {
                    return Root::Stale(Arc::clone(&self.root.borrow()));
                }
                // What was there may still be used by name.
                Err(_) => {}
            }
        }
        Root::Known(Arc::clone(&self.root.borrow()))
    }
}

/// The root of a directory, and whether it has to be looked up on the disk first.
enum Root {
    Known(Arc<OwnedFd>),
    Stale(Arc<OwnedFd>),
}

impl Root {
    fn held(self) -> Arc<OwnedFd> {
        match self {
            Self::Known(root) | Self::Stale(root) => root,
        }
    }

    fn blocking(self, path: &Path) -> Arc<OwnedFd> {
        match self {
            Self::Known(root) => root,
            Self::Stale(root) => open::open_root(path, How::Blocking).map_or(root, Arc::new),
        }
    }
}

impl Service for Files {
    fn route(&self, _: &RequestHead) -> RouteId {
        self.route
    }

    fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        Cow::Borrowed(if route == self.route { self.name } else { "_unmatched" })
    }

    fn call(&self, request: Request) -> Reply {
        self.answer(&request.head)
    }
}

/// The answer from what was found, a listing included.
async fn finish(
    directory: Arc<Directory>,
    root: Arc<OwnedFd>,
    found: io::Result<Found>,
    head: RequestHead,
    contents: Option<Rc<RefCell<Contents>>>,
) -> Response {
    match found {
        Ok(Found::List(opened, below)) => {
            let (hidden, symlinks) = (directory.hidden, directory.symlinks);
            let path = head.path().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let is_root = path.len() == directory.mount.len() + 1;
            let page = tokio::task::spawn_blocking(move || {
                let place = Place { root: &root, below: &below, symlinks };
                listing::page(&opened.file, &place, &shown_decoded(&path), hidden, is_root)
            });
            match page.await.map_err(io::Error::other).and_then(|page| page) {
                Ok(page) => Response::new(200)
                    .with_field("content-type", "text/html; charset=utf-8")
                    .with_field(
                        "content-security-policy",
                        "default-src 'none'; base-uri 'none'; form-action 'none'",
                    )
                    .with_field("x-content-type-options", "nosniff")
                    .with_field("cache-control", "no-cache")
                    .with_body(Body::Full(page.into())),
                Err(error) => FileError::from(error).response(),
            }
        }
        found => directory.reply(found, &head, contents),
    }
}

impl Directory {
    fn reply(
        &self,
        found: io::Result<Found>,
        head: &RequestHead,
        contents: Option<Rc<RefCell<Contents>>>,
    ) -> Response {
        let target = head.path().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let error = match found {
            Ok(Found::File { opened, kind, varies, encoding }) => {
                let options = Options { contents, ..self.options(kind, varies, encoding) };
                return respond(Ok((Handle::Owned(opened.file), opened.stat)), options, head);
            }
            Ok(Found::NeedsSlash) => return with_slash(target, path),
            // A listing was taken before.
            Ok(Found::List(..)) => FileError::Directory,
            Ok(Found::Nothing(error)) => error,
            Err(error) => error.into(),
        };
        match error {
            FileError::NotFound => not_found(path),
            FileError::Denied => sentence(403, format!("what lies at {} may not be read\n", shown(path))),
            FileError::Directory => {
                sentence(403, format!("{} is a directory without an index, and is not listed\n", shown(path)))
            }
            FileError::Special => sentence(403, format!("what lies at {} is no file\n", shown(path))),
            error => {
                tracing::warn!(%error, path, "a file cannot be served");
                error.response()
            }
        }
    }

    fn options(&self, kind: Kind, varies: bool, encoding: Option<Encoding>) -> Options {
        let mut options = Options::default();
        let fields = &mut options.head.fields;
        if kind.text {
            let mut media = String::with_capacity(kind.media.len() + 15);
            media.push_str(kind.media);
            media.push_str("; charset=utf-8");
            fields.push("content-type", media);
        } else {
            fields.push("content-type", kind.media);
        }
        fields.push("x-content-type-options", "nosniff");
        if let Some(value) = &self.cache_control {
            fields.push("cache-control", value);
        }
        if let Some(encoding) = encoding {
            fields.push("content-encoding", encoding.name());
        }
        if varies {
            fields.push("vary", "accept-encoding");
        }
        options
    }
}

/// Sends the client to the same path with a slash behind it, so that relative links of an index fit.
fn with_slash(target: &str, path: &str) -> Response {
    // A path with `//` in front, which would name another host, was refused before.
    let query = target.get(path.len()..).unwrap_or_default();
    sentence(301, format!("{}/ is a directory\n", shown(path)))
        .with_field("location", format!("{path}/{query}"))
}

fn not_found(path: &str) -> Response {
    sentence(404, format!("nothing lives at {}\n", shown(path)))
}

fn not_allowed(method: &str, path: &str) -> Response {
    let words = match path {
        "" => format!("this site opens no tunnels; it takes {METHODS}\n"),
        path => format!("{} does not take {}; it takes {METHODS}\n", shown(path), shown(method)),
    };
    sentence(405, words).with_field("allow", METHODS)
}

/// What a client sent, short enough to repeat.
fn shown(text: &str) -> Cow<'_, str> {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
    }
}

/// A path that was accepted, as people read it.
fn shown_decoded(path: &str) -> String {
    let Ok(target) = Target::parse(path, true) else { return path.to_owned() };
    let name = target.path.to_string_lossy();
    if name.is_empty() { "/".to_owned() } else { format!("/{name}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_kept_unless_none_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert!(Files::new(directory.clone()).contents.is_some());
        assert!(Files::new(directory.cache(0)).contents.is_none());
    }

    #[test]
    fn kinds_are_known_by_name() {
        let kind = |name| Kind::of(Path::new(name));
        assert_eq!((kind("a.html").media, kind("a.html").text), ("text/html", true));
        assert!(kind("a.js").text && kind("a.svg").shrinks && kind("a.wasm").shrinks);
        assert!(!kind("a.png").shrinks && !kind("a.zip").shrinks);
        assert_eq!(kind("LICENSE").media, "application/octet-stream");
    }

    #[test]
    fn long_paths_are_cut_at_a_character() {
        assert_eq!(shown("/a"), "/a");
        assert_eq!(shown(&"ä".repeat(81)), format!("{}...", "ä".repeat(80)));
    }
}
