//! A file as a response: the one algorithm from (file, stat, head, options) to a streamed [`Response`].
//!
//! Where the file comes from only says who closes it. Validators, conditions and ranges (RFC 9110 §8.8, §13,
//! §14) are ours when the response is 200 and the whole file; an application that picks a part or another
//! status has said what it wants, and is taken at its word.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::io::Errno;
use stagedoor_protocol::{Fields, RequestHead, ResponseHead};

use super::body::{FileBody, Handle, SpecialBody, whole_now};
use super::conditions::{self, Outcome};
use super::contents::Contents;
use super::kept;
use super::open::{self, How, Opened};
use super::ranges::Asked;
use crate::body::Body;
use crate::service::{Reply, Response};

/// Where a file comes from, and so who closes it.
///
/// ```
/// use std::path::Path;
///
/// use stagedoor_actors::files::{FileResponse, FileSource};
///
/// assert!(matches!(FileSource::from(Path::new("list.txt")), FileSource::Path(_)));
/// # let file = tempfile::tempfile()?;
/// let shared = std::sync::Arc::new(file);
/// // Many answers of one open file:
/// let answers = [(); 2].map(|()| FileResponse::new(shared.clone()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub enum FileSource {
    /// Opened for the response and closed after it.
    Path(PathBuf),
    /// Closed after the response. Read by position: where its cursor stands does not matter.
    Owned(File),
    /// Left open for whoever holds the other clones. May serve many responses at once.
    Shared(Arc<File>),
}

impl From<PathBuf> for FileSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for FileSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<File> for FileSource {
    fn from(file: File) -> Self {
        Self::Owned(file)
    }
}

impl From<Arc<File>> for FileSource {
    fn from(file: Arc<File>) -> Self {
        Self::Shared(file)
    }
}

/// Octets of a file to send. The default is all of them.
///
/// ```
/// use stagedoor_actors::files::{FileRange, FileResponse, Verdict};
///
/// // The first 1024 octets, whatever was asked for.
/// let answer = FileResponse::path("/srv/log").stat_check(|_, _, range| {
///     *range = FileRange { offset: 0, length: Some(1024) };
///     Verdict::Send
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileRange {
    /// The first octet, counted from 0. Behind the end of the file it is a [`FileError::PastEnd`].
    pub offset: u64,
    /// At most so many octets; `None` is to the end of the file.
    pub length: Option<u64>,
}

impl FileRange {
    fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// What a stat check decides.
///
/// ```
/// use stagedoor_actors::Response;
/// use stagedoor_actors::files::{FileResponse, Verdict};
///
/// let answer = FileResponse::path("/srv/log").stat_check(|metadata, _, _| match metadata.len() {
///     0 => Verdict::Decline(Response::new(204)),
///     _ => Verdict::Send,
/// });
/// ```
pub enum Verdict {
    /// The file goes, as head and range now stand.
    Send,
    /// This goes instead, and the file is closed.
    Decline(Response),
}

/// Why a file cannot be the response. The head has not been sent.
///
/// ```
/// use stagedoor_actors::files::FileError;
///
/// let error = std::fs::File::open("/no/such/file").unwrap_err();
/// match FileError::from(error) {
///     FileError::NotFound => assert_eq!(FileError::NotFound.status(), 404),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is none. 404.
    #[error("no such file")]
    NotFound,
    /// It may not be read, or lies outside of where files may lie. 403.
    #[error("the file may not be read")]
    Denied,
    /// It is a directory. 403.
    #[error("this is a directory")]
    Directory,
    /// It is a FIFO, a socket or a device, and those were not asked for. 403.
    #[error("this is no regular file")]
    Special,
    /// An offset or a length was asked of something that cannot seek. 500.
    #[error("this file has no positions: offset and length cannot be chosen")]
    NoSeek,
    /// The offset lies behind the end. 416 with `content-range`.
    #[error("the file ends after {length} octets")]
    PastEnd {
        /// Octets of the file.
        length: u64,
    },
    /// The process has no descriptor left. 503.
    #[error("too many open files")]
    Exhausted,
    /// Whatever else the system says. 500.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
}

impl FileError {
    /// The status that tells a client.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Denied | Self::Directory | Self::Special => 403,
            Self::PastEnd { .. } => 416,
            Self::Exhausted => 503,
            Self::NoSeek | Self::Io(_) => 500,
        }
    }

    /// The response that is sent where no `on_error` says another one: the status with one sentence. What the
    /// system said is for the log alone.
    pub fn response(&self) -> Response {
        match self {
            Self::PastEnd { length } => unsatisfiable(*length),
            Self::Io(_) => sentence(500, "the file cannot be read\n".to_owned()),
            other => sentence(other.status(), format!("{other}\n")),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Self::NotFound,
            Some(Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV) => Self::Denied,
            Some(Errno::MFILE | Errno::NFILE) => Self::Exhausted,
            // What opening a socket, or a device without a driver, says.
            Some(Errno::NXIO | Errno::NODEV) => Self::Special,
            _ => match error.kind() {
                io::ErrorKind::NotFound => Self::NotFound,
                io::ErrorKind::PermissionDenied => Self::Denied,
                // A path with NUL in it names nothing.
                io::ErrorKind::InvalidInput => Self::NotFound,
                _ => Self::Io(error),
            },
        }
    }
}

/// One sentence that is never taken for something else.
pub(super) fn sentence(status: u16, text: String) -> Response {
    Response::new(status)
        .with_field("content-type", "text/plain; charset=utf-8")
        .with_field("x-content-type-options", "nosniff")
        .with_body(Body::Full(text.into()))
}

/// 416: nothing of `length` octets was asked for (RFC 9110 §15.5.17).
fn unsatisfiable(length: u64) -> Response {
    sentence(416, format!("the file ends after {length} octets\n"))
        .with_field("content-range", format!("bytes */{length}"))
}

type StatCheck = Box<dyn FnOnce(&Metadata, &mut ResponseHead, &mut FileRange) -> Verdict>;
type OnError = Box<dyn FnOnce(&FileError) -> Response>;

/// A response whose body is a file.
///
/// ```no_run
/// # use stagedoor_actors::{Reply, Request};
/// # use stagedoor_actors::files::FileResponse;
/// fn call(request: Request) -> Reply {
///     FileResponse::path("/srv/report.pdf")
///         .field("content-type", "application/pdf")
///         .answer(&request.head)
/// }
/// ```
/// What the kernel has in its caches is opened and read where the handler runs; the blocking pool does the
/// rest. A stream that ends meanwhile closes what was opened for it.
#[must_use = "nothing is sent before `answer`"]
pub struct FileResponse {
    source: FileSource,
    options: Options,
}

pub(super) struct Options {
    pub(super) head: ResponseHead,
    pub(super) range: FileRange,
    pub(super) allow_special: bool,
    pub(super) stat_check: Option<StatCheck>,
    pub(super) on_error: Option<OnError>,
    /// Where the octets of small files are kept, for those who keep them.
    pub(super) contents: Option<Rc<RefCell<Contents>>>,
}

impl Default for Options {
    fn default() -> Self {
        // Room for what is added on the way out.
        let head = ResponseHead::new(200, Fields::with_capacity(8, 256));
        Self {
            head,
            range: FileRange::default(),
            allow_special: false,
            stat_check: None,
            on_error: None,
            contents: None,
        }
    }
}

impl FileResponse {
    /// All of a file, with status 200.
    pub fn new(source: impl Into<FileSource>) -> Self {
        Self { source: source.into(), options: Options::default() }
    }

    /// The file at `path`.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::new(FileSource::Path(path.into()))
    }

    /// Another status. With one that has no content (204, 205, 304) the file is looked at and not sent.
    pub fn status(mut self, status: u16) -> Self {
        self.options.head.status = status;
        self
    }

    /// Adds a field. `content-length` is always the file's own.
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.options.head.fields.push(name, value);
        self
    }

    /// Begins at octet `offset`. The `range` field of the request is not looked at then.
    pub fn offset(mut self, offset: u64) -> Self {
        self.options.range.offset = offset;
        self
    }

    /// Sends at most `length` octets. The `range` field of the request is not looked at then.
    pub fn length(mut self, length: u64) -> Self {
        self.options.range.length = Some(length);
        self
    }

    /// Takes FIFOs, sockets and devices too. They are sent to their end, without `content-length`.
    pub fn allow_special(mut self, allow: bool) -> Self {
        self.options.allow_special = allow;
        self
    }

    /// Looks at the file before its head is sent; may change head and range, or send something else.
    pub fn stat_check(
        mut self,
        check: impl FnOnce(&Metadata, &mut ResponseHead, &mut FileRange) -> Verdict + 'static,
    ) -> Self {
        self.options.stat_check = Some(Box::new(check));
        self
    }

    /// What is sent when the file cannot be; [`FileError::response`] where nothing is said. An error after the
    /// head is no matter of this: it resets the stream.
    pub fn on_error(mut self, answer: impl FnOnce(&FileError) -> Response + 'static) -> Self {
        self.options.on_error = Some(Box::new(answer));
        self
    }

    /// The reply to the request with this `head`.
    pub fn answer(self, head: &RequestHead) -> Reply {
        match self.begin(head) {
            Begun::Done(response) => Reply::Ready(response),
            Begun::Open(path, options) => {
                let head = head.clone();
                Reply::later(async move { open_elsewhere(path, options, &head).await })
            }
        }
    }

    /// The same inside of an `async` handler.
    pub async fn response(self, head: &RequestHead) -> Response {
        match self.begin(head) {
            Begun::Done(response) => response,
            Begun::Open(path, options) => open_elsewhere(path, options, head).await,
        }
    }

    fn begin(self, head: &RequestHead) -> Begun {
        let Self { source, options } = self;
        let opened = match source {
            FileSource::Path(path) => match open::open(&path, How::Cached) {
                Err(error) if open::would_block(&error) => return Begun::Open(path, options),
                Err(error) => Err(error),
                Ok(Opened { file, stat }) => Ok((Handle::Owned(file), stat)),
            },
            FileSource::Owned(file) => file.metadata().map(|stat| (Handle::Owned(file), stat)),
            FileSource::Shared(file) => file.metadata().map(|stat| (Handle::Shared(file), stat)),
        };
        Begun::Done(respond(opened.map_err(FileError::from), options, head))
    }
}

impl std::fmt::Debug for FileResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileResponse")
            .field("source", &self.source)
            .field("range", &self.options.range)
            .finish_non_exhaustive()
    }
}

enum Begun {
    Done(Response),
    /// The kernel has to look on the disk.
    Open(PathBuf, Options),
}

async fn open_elsewhere(path: PathBuf, options: Options, head: &RequestHead) -> Response {
    // Dropped while it runs, the task closes what it opened.
    let opened = tokio::task::spawn_blocking(move || open::open(&path, How::Blocking)).await;
    let opened = match opened {
        Ok(opened) => {
            opened.map(|Opened { file, stat }| (Handle::Owned(file), stat)).map_err(FileError::from)
        }
        Err(error) => Err(FileError::Io(io::Error::other(error))),
    };
    respond(opened, options, head)
}

/// The algorithm.
pub(super) fn respond(
    opened: Result<(Handle, Metadata), FileError>,
    mut options: Options,
    request: &RequestHead,
) -> Response {
    let on_error = options.on_error.take();
    let sent = opened.and_then(|(handle, stat)| send(handle, &stat, options, request, SystemTime::now()));
    sent.unwrap_or_else(|error| {
        if let FileError::Io(_) | FileError::Exhausted | FileError::NoSeek = error {
            tracing::warn!(%error, "a file cannot be sent");
        }
        on_error.map_or_else(|| error.response(), |answer| answer(&error))
    })
}

pub(super) fn send(
    handle: Handle,
    stat: &Metadata,
    options: Options,
    request: &RequestHead,
    now: SystemTime,
) -> Result<Response, FileError> {
    let Options { mut head, mut range, allow_special, stat_check, contents, .. } = options;
    let kind = stat.file_type();
    if kind.is_dir() {
        return Err(FileError::Directory);
    }
    let special = !kind.is_file();
    if special && !allow_special {
        return Err(FileError::Special);
    }
    if let Some(check) = stat_check
        && let Verdict::Decline(response) = check(stat, &mut head, &mut range)
    {
        return Ok(response);
    }
    let bodiless = matches!(head.status, 204 | 205 | 304) || request.method() == "HEAD";
    if head.fields.contains("content-length") {
        head.fields.remove("content-length");
    }
    if special {
        if !range.is_all() {
            return Err(FileError::NoSeek);
        }
        let body = if bodiless { Body::Empty } else { Body::stream(SpecialBody::new(handle, stat)?) };
        return Ok(Response { status: head.status, fields: head.fields, body, dated: true, trailers: None });
    }
    let size = stat.len();
    let rest = size.checked_sub(range.offset).ok_or(FileError::PastEnd { length: size })?;
    let (mut offset, mut length) = (range.offset, range.length.map_or(rest, |length| length.min(rest)));
    if range.is_all() && head.status == 200 && matches!(request.method(), "GET" | "HEAD") {
        conditions::add_validators(stat, now, &mut head.fields);
        match conditions::evaluate(request, &head.fields) {
            Outcome::Proceed => {}
            Outcome::NotModified => return Ok(not_modified(head.fields)),
            Outcome::Failed => {
                return Ok(sentence(412, "the file is not the one that was asked for\n".to_owned()));
            }
        }
        head.fields.push("accept-ranges", "bytes");
        if request.fields().contains("range") && conditions::range_holds(request, &head.fields) {
            match Asked::of(request, size) {
                Asked::Whole => {}
                Asked::Part(part) => {
                    head.status = 206;
                    let (first, last) = (part.start, part.end - 1);
                    head.fields.push("content-range", format!("bytes {first}-{last}/{size}"));
                    (offset, length) = (part.start, part.end - part.start);
                }
                Asked::Nothing => return Ok(unsatisfiable(size)),
            }
        }
    }
    let ResponseHead { status, mut fields } = head;
    if bodiless {
        if request.method() == "HEAD" && !matches!(status, 204 | 205 | 304) {
            fields.push("content-length", length.to_string());
        }
        return Ok(Response { status, fields, body: Body::Empty, dated: true, trailers: None });
    }
    // In one message where it is small and at hand: then the file is closed at once, too.
    let kept = contents.and_then(|contents| kept::whole(&contents, &handle, stat, now));
    let whole = match kept {
        Some(all) => Some(all.slice(offset as usize..(offset + length) as usize)),
        None => whole_now(&handle, offset, length),
    };
    let body = match whole {
        Some(octets) => Body::Full(octets),
        None => Body::stream(FileBody::new(handle, offset, length)),
    };
    Ok(Response { status, fields, body, dated: true, trailers: None })
}

/// 304 with what a cache needs to keep what it has (RFC 9110 §15.4.5).
fn not_modified(mut fields: Fields) -> Response {
    for name in ["content-type", "content-encoding", "content-language", "content-range"] {
        if fields.contains(name) {
            fields.remove(name);
        }
    }
    Response { status: 304, fields, body: Body::Empty, dated: true, trailers: None }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;

    /// Descriptors of this process that are `path`.
    fn open_on(path: &Path) -> usize {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        entries.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
    }

    #[test]
    fn a_stream_that_ends_while_its_file_is_opened_leaves_no_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("file");
        std::fs::write(&path, "octets").unwrap();
        // One thread in the pool, and it is busy: the open has to wait.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv().ok());
            let head = RequestHead::new("GET", "http", "a", "/");
            let mut reply = Box::pin(async { open_elsewhere(path.clone(), Options::default(), &head).await });
            assert!(reply.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(reply);
            go.send(()).unwrap();
            busy.await.unwrap();
            // Behind it in the queue: what was opened for nobody is closed by now.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert_eq!(open_on(&path), 0);
        });
    }

    #[test]
    fn errors_say_what_a_client_may_know() {
        for (error, status, words) in [
            (FileError::NotFound, 404, "no such file\n"),
            (FileError::Denied, 403, "the file may not be read\n"),
            (FileError::Exhausted, 503, "too many open files\n"),
            (FileError::Io(io::Error::other("/secret/place")), 500, "the file cannot be read\n"),
        ] {
            let response = error.response();
            let Body::Full(body) = response.body else { panic!("words") };
            assert_eq!((response.status, error.status(), body), (status, status, words.into()));
        }
        for (errno, status) in [(Errno::MFILE, 503), (Errno::XDEV, 403), (Errno::LOOP, 403), (Errno::IO, 500)]
        {
            assert_eq!(FileError::from(io::Error::from(errno)).status(), status);
        }
    }
}
