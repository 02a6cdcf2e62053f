//! A file as the body of a response: read as the peer takes it, never blocking the arbiter.
//!
//! Octets the kernel has in its cache are read at once (`preadv2` with `RWF_NOWAIT`), others on the blocking
//! pool; pipes and the like wait for their readiness. A body that cannot be finished is an error, so that the
//! stream is reset: it is never padded and never silently short.
//!
//! Invariants: one read at a time, of 64 KiB (256 KiB on the pool) at most, and only when the session asks for more. A file
//! that is ours is closed with the body or, if a read is under way on the pool, when that ends.

use std::fs::{File, Metadata};
use std::future::Future as _;
use std::io::{self, IoSliceMut, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::buffers::Buffer;
use super::count_read;

/// Files up to this size are read whole before their head is sent, where the kernel has them at hand. Larger ones
/// are read when there is room for them, so that their octets are still in the cache when they leave.
pub(super) const SMALL: u64 = 16 << 10;

/// A descriptor to read from; who holds it says who closes it.
#[derive(Debug)]
pub(super) enum Handle {
    /// Closed when the response is over.
    Owned(File),
    /// Closed by whoever drops the last of them.
    Shared(Arc<File>),
}

impl Handle {
    pub(super) fn file(&self) -> &File {
        match self {
            Self::Owned(file) => file,
            Self::Shared(file) => file,
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

/// Why the body of a file ended before its end.
///
/// ```
/// use stagedoor_actors::files::FileBodyError;
///
/// fn line(error: &FileBodyError) -> String {
///     match error {
///         FileBodyError::Shrank { missing } => format!("{missing} octets are gone"),
///         other => other.to_string(),
///     }
/// }
/// assert_eq!(line(&FileBodyError::Shrank { missing: 3 }), "3 octets are gone");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileBodyError {
    /// The file is shorter than its head said.
    #[error("the file shrank while it was sent: {missing} octets are missing")]
    Shrank {
        /// Octets that were promised and are not there.
        missing: u64,
    },
    /// Reading failed.
    #[error("cannot read on: {0}")]
    Read(#[from] io::Error),
}

impl FileBodyError {
    fn told(self) -> Self {
        tracing::warn!(error = %self, "a file cannot be sent to its end; its stream is reset");
        self
    }
}

/// What came of trying to read without waiting.
enum Now {
    Octets(Bytes),
    /// They are not at hand, or the file system cannot tell.
    Wait,
}

/// Reads up to `left` octets at `offset`, if that needs no waiting.
fn read_now(handle: &Handle, offset: u64, left: u64) -> io::Result<Now> {
    if left <= SMALL {
        let mut octets = vec![0; left as usize];
        return match preadv2(handle, &mut octets, offset) {
            Ok(count) => {
                octets.truncate(count);
                Ok(Now::Octets(octets.into()))
            }
            Err(errno) => cannot(errno),
        };
    }
    let mut buffer = Buffer::take();
    match preadv2(handle, buffer.room(left), offset) {
        Ok(count) => Ok(Now::Octets(buffer.freeze(count))),
        Err(errno) => cannot(errno),
    }
}

fn preadv2(handle: &Handle, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    loop {
        match rustix::io::preadv2(handle, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn cannot(errno: Errno) -> io::Result<Now> {
    match errno {
        Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS => Ok(Now::Wait),
        errno => Err(errno.into()),
    }
}

/// The whole of a small range, if the kernel has it at hand.
pub(super) fn whole_now(handle: &Handle, offset: u64, length: u64) -> Option<Bytes> {
    if length > SMALL {
        return None;
    }
    match read_now(handle, offset, length) {
        Ok(Now::Octets(octets)) if octets.len() as u64 == length => {
            count_read(octets.len());
            Some(octets)
        }
        // The body finds out what is wrong, if it still is.
        Ok(_) | Err(_) => None,
    }
}

/// All `length` octets of a file in memory of their own, if the kernel has them at hand.
pub(super) fn all_now(handle: &Handle, length: usize) -> Option<Bytes> {
    let mut octets = vec![0; length];
    let count = preadv2(handle, &mut octets, 0).ok()?;
    count_read(count);
    (count == length).then(|| octets.into())
}

/// A read on the blocking pool: the handle comes back with what it gave.
type Reading = JoinHandle<(Handle, io::Result<Bytes>)>;

enum State {
    Idle(Handle),
    Reading(Reading),
    Over,
}

/// Octets `offset..offset + left` of a regular file, or of a block device.
pub(super) struct FileBody {
    state: State,
    offset: u64,
    left: u64,
}

impl FileBody {
    pub(super) fn new(handle: Handle, offset: u64, length: u64) -> Self {
        Self { state: State::Idle(handle), offset, left: length }
    }

    /// Counts octets that were read; none are the end of the file.
    fn took(&mut self, octets: Bytes) -> Result<Frame<Bytes>, FileBodyError> {
        if octets.is_empty() {
            self.state = State::Over;
            return Err(FileBodyError::Shrank { missing: self.left }.told());
        }
        count_read(octets.len());
        self.offset += octets.len() as u64;
        self.left -= octets.len() as u64;
        if self.left == 0 {
            self.state = State::Over;
        }
        Ok(Frame::data(octets))
    }

    fn failed(&mut self, error: io::Error) -> FileBodyError {
        self.state = State::Over;
        FileBodyError::Read(error).told()
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = FileBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FileBodyError>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                State::Idle(handle) => {
                    let (offset, left) = (this.offset, this.left);
                    match read_now(&handle, offset, left) {
                        Ok(Now::Octets(octets)) => {
                            this.state = State::Idle(handle);
                            return Poll::Ready(Some(this.took(octets)));
                        }
                        Ok(Now::Wait) => {
                            this.state = State::Reading(tokio::task::spawn_blocking(move || {
                                let octets = read_blocking(handle.file(), offset, left);
                                (handle, octets)
                            }));
                        }
                        Err(error) => return Poll::Ready(Some(Err(this.failed(error)))),
                    }
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (handle, octets) = match read {
                        Ok((handle, octets)) => (handle, octets),
                        Err(error) => return Poll::Ready(Some(Err(this.failed(io::Error::other(error))))),
                    };
                    return Poll::Ready(Some(match octets {
                        Ok(octets) => {
                            this.state = State::Idle(handle);
                            this.took(octets)
                        }
                        Err(error) => Err(this.failed(error)),
                    }));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Octets of a read of a pipe or a device; a pipe holds as many by default.
const PIPE: u64 = 64 << 10;

/// Octets of a read on the blocking pool: the way there and back costs more than a read.
const COLD: usize = 256 << 10;

fn read_blocking(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let mut octets = vec![0; left.min(COLD as u64) as usize];
    let mut filled = 0;
    // The kernel may give less than it was asked for; the way to the pool is dear.
    while filled < octets.len() {
        match file.read_at(&mut octets[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    octets.truncate(filled);
    Ok(octets.into())
}

enum Stream {
    /// A pipe tells when it has something.
    Pipe(pipe::Receiver),
    /// All else is asked on the pool.
    Idle(Handle),
    Reading(Reading),
    Over,
}

/// What a FIFO, a socket or a character device gives, to its end. Its length is not known.
pub(super) struct SpecialBody {
    stream: Stream,
}

impl SpecialBody {
    /// A FIFO becomes non-blocking, and so do the other holders of a shared one.
    pub(super) fn new(handle: Handle, stat: &Metadata) -> io::Result<Self> {
        if !stat.file_type().is_fifo() {
            return Ok(Self { stream: Stream::Idle(handle) });
        }
        let file = match handle {
            Handle::Owned(file) => file,
            Handle::Shared(file) => file.try_clone()?,
        };
        Ok(Self { stream: Stream::Pipe(pipe::Receiver::from_file(file)?) })
    }
}

impl http_body::Body for SpecialBody {
    type Data = Bytes;
    type Error = FileBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FileBodyError>>> {
        let this = &mut *self;
        let read = loop {
            match std::mem::replace(&mut this.stream, Stream::Over) {
                Stream::Pipe(mut pipe) => {
                    let mut buffer = Buffer::take();
                    let mut into = ReadBuf::new(buffer.room(PIPE));
                    let read = Pin::new(&mut pipe).poll_read(cx, &mut into);
                    let filled = into.filled().len();
                    this.stream = Stream::Pipe(pipe);
                    break ready!(read).map(|()| buffer.freeze(filled));
                }
                Stream::Idle(handle) => {
                    this.stream = Stream::Reading(tokio::task::spawn_blocking(move || {
                        let mut octets = vec![0; PIPE as usize];
                        let read = handle.file().read(&mut octets).map(|count| {
                            octets.truncate(count);
                            octets.into()
                        });
                        (handle, read)
                    }));
                }
                Stream::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        this.stream = Stream::Reading(reading);
                        return Poll::Pending;
                    };
                    match read {
                        Ok((handle, read)) => {
                            this.stream = Stream::Idle(handle);
                            break read;
                        }
                        Err(error) => break Err(io::Error::other(error)),
                    }
                }
                Stream::Over => return Poll::Ready(None),
            }
        };
        Poll::Ready(match read {
            Ok(octets) if octets.is_empty() => {
                this.stream = Stream::Over;
                None
            }
            Ok(octets) => Some(Ok(Frame::data(octets))),
            Err(error) => {
                this.stream = Stream::Over;
                Some(Err(FileBodyError::Read(error).told()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stream, Stream::Over)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::*;

    #[test]
    fn a_read_that_panics_on_the_pool_fails_its_body() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let reading = tokio::task::spawn_blocking(|| panic!("in a read, on purpose"));
            let mut body = FileBody { state: State::Reading(reading), offset: 0, left: 10 };
            let read = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            assert!(matches!(read, Some(Err(FileBodyError::Read(_)))));
            assert!(matches!(body.state, State::Over), "and is over");
        });
    }
}
