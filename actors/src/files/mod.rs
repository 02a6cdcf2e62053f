//! Files as responses (RFC 9110 §8.8, §13, §14): [`FileResponse`] sends one, [`Files`] serves a directory.
//!
//! Memory is bounded: a body holds one buffer of 64 KiB (256 KiB where the disk has to be asked), and reads on
//! when the session takes more. No arbiter waits for a disk: what the kernel has at hand is opened and read at
//! once, all else on the blocking pool. On a network file system the kernel may still have to ask its server
//! for the attributes of an open file.

mod body;
mod buffers;
mod conditions;
mod contents;
mod directory;
mod encodings;
mod kept;
mod listing;
mod open;
mod ranges;
mod response;
mod target;

pub use body::FileBodyError;
pub use directory::{Directory, Files};
pub use encodings::Encoding;
pub use open::Symlinks;
pub use ranges::Asked;
pub use response::{FileError, FileRange, FileResponse, FileSource, Verdict};
