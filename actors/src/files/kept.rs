//! An open file and [`Contents`]: its octets from there, or read whole and put there.

use std::cell::RefCell;
use std::fs::Metadata;
use std::time::SystemTime;

use bytes::Bytes;

use super::body::{Handle, all_now};
use super::contents::{Contents, Known};
use crate::clock;

/// All octets of the regular file `handle`, which was just found to be `stat`, if it is one that many ask for and no
/// disk has to be waited for.
pub(super) fn whole(
    contents: &RefCell<Contents>,
    handle: &Handle,
    stat: &Metadata,
    wall: SystemTime,
) -> Option<Bytes> {
    let now = clock::now();
    let mut contents = contents.borrow_mut();
    match contents.look(stat, now, wall) {
        Known::Whole(octets) => Some(octets),
        Known::Wanted => {
            let octets = all_now(handle, stat.len() as usize)?;
            contents.keep(stat, &octets, now);
            Some(octets)
        }
        Known::Nothing => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;
    use std::time::Duration;

    use rustix::fs::{CWD, Mode, Timespec, Timestamps};
    use stagedoor_protocol::RequestHead;

    use super::super::contents;
    use super::super::open::{self, How};
    use super::super::response::{FileError, Options, send};
    use super::*;
    use crate::body::Body;
    use crate::service::Response;

    /// Larger than what is sent in one message without being kept.
    const LENGTH: usize = 100_000;

    /// A file, and a worker that serves it some seconds after all that is done to it.
    struct Stand {
        dir: tempfile::TempDir,
        contents: Rc<RefCell<Contents>>,
    }

    impl Stand {
        fn new() -> Self {
            let contents = Rc::new(RefCell::new(Contents::new(contents::DEFAULT)));
            let stand = Self { dir: tempfile::tempdir().unwrap(), contents };
            std::fs::write(stand.path(), vec![b'a'; LENGTH]).unwrap();
            stand
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("file")
        }

        fn ask_at(&self, path: &Path, later: Duration, head: &RequestHead) -> Result<Response, FileError> {
            let opened = open::open(path, How::Blocking).unwrap();
            let options = Options { contents: Some(Rc::clone(&self.contents)), ..Options::default() };
            send(Handle::Owned(opened.file), &opened.stat, options, head, SystemTime::now() + later)
        }

        fn ask(&self, head: &RequestHead) -> Response {
            self.ask_at(&self.path(), Duration::from_secs(10), head).unwrap()
        }

        /// Asks until the file is kept, and once more.
        fn warm(&self) -> Bytes {
            self.ask(&get(&[]));
            self.ask(&get(&[]));
            octets(self.ask(&get(&[])))
        }
    }

    fn head(method: &str, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(method, "http", "localhost", "/");
        for (name, value) in fields {
            head.fields_mut().push(name, value);
        }
        head
    }

    fn get(fields: &[(&str, &str)]) -> RequestHead {
        head("GET", fields)
    }

    fn octets(response: Response) -> Bytes {
        let Body::Full(octets) = response.body else { panic!("it is kept, and so sent whole") };
        octets
    }

    /// What is read from the file while it is sent.
    fn is_read(response: &Response) -> bool {
        matches!(response.body, Body::Stream(_))
    }

    fn field<'a>(response: &'a Response, name: &str) -> &'a str {
        response.fields.get(name).map_or("", |value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn the_second_request_keeps_a_file_and_the_third_reads_nothing() {
        let stand = Stand::new();
        assert!(is_read(&stand.ask(&get(&[]))));
        let second = octets(stand.ask(&get(&[])));
        let third = octets(stand.ask(&get(&[])));
        assert_eq!(second, vec![b'a'; LENGTH]);
        assert_eq!(second.as_ptr(), third.as_ptr());
    }

    #[test]
    fn a_change_of_the_same_size_with_the_old_time_is_seen_at_once() {
        let stand = Stand::new();
        stand.warm();
        let before = std::fs::metadata(stand.path()).unwrap();
        std::fs::write(stand.path(), vec![b'b'; LENGTH]).unwrap();
        let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps {
            last_access: time(before.atime(), before.atime_nsec()),
            last_modification: time(before.mtime(), before.mtime_nsec()),
        };
        rustix::fs::utimensat(CWD, stand.path(), &times, rustix::fs::AtFlags::empty()).unwrap();
        let after = std::fs::metadata(stand.path()).unwrap();
        assert_eq!((after.modified().unwrap(), after.len()), (before.modified().unwrap(), before.len()));
        assert!(is_read(&stand.ask(&get(&[]))));
        assert_eq!(stand.warm(), vec![b'b'; LENGTH]);
    }

    #[test]
    fn another_file_under_the_name_is_seen_at_once() {
        let stand = Stand::new();
        stand.warm();
        let other = stand.dir.path().join("other");
        std::fs::write(&other, vec![b'b'; LENGTH]).unwrap();
        std::fs::rename(&other, stand.path()).unwrap();
        assert!(is_read(&stand.ask(&get(&[]))));
        assert_eq!(stand.warm(), vec![b'b'; LENGTH]);
    }

    #[test]
    fn a_file_that_was_cut_short_or_grew_is_seen_at_once() {
        let stand = Stand::new();
        stand.warm();
        let file = OpenOptions::new().write(true).open(stand.path()).unwrap();
        file.set_len(50_000).unwrap();
        assert!(is_read(&stand.ask(&get(&[]))));
        assert_eq!(stand.warm(), vec![b'a'; 50_000]);
        file.set_len(50_001).unwrap();
        assert!(is_read(&stand.ask(&get(&[]))));
        assert_eq!(stand.warm()[50_000..], [0]);
    }

    #[test]
    fn ranges_are_slices_of_what_is_kept() {
        let stand = Stand::new();
        let whole = stand.warm();
        let part = stand.ask(&get(&[("range", "bytes=70000-89999")]));
        assert_eq!((part.status, field(&part, "content-range")), (206, "bytes 70000-89999/100000"));
        let part = octets(part);
        assert_eq!((part.len(), part.as_ptr()), (20_000, whole[70_000..].as_ptr()));
        let last = octets(stand.ask(&get(&[("range", "bytes=-1")])));
        assert_eq!((last.len(), last.as_ptr()), (1, whole[LENGTH - 1..].as_ptr()));
        assert_eq!(stand.ask(&get(&[("range", "bytes=100000-")])).status, 416);
    }

    #[test]
    fn heads_and_conditions_are_answered_as_without_it() {
        let stand = Stand::new();
        let plain = stand.ask(&get(&[]));
        let tag = field(&plain, "etag").to_owned();
        stand.warm();
        let kept = stand.ask(&get(&[]));
        assert_eq!(kept.fields.iter().collect::<Vec<_>>().len(), plain.fields.iter().count());
        for name in ["etag", "last-modified", "accept-ranges"] {
            assert_eq!(field(&kept, name), field(&plain, name), "{name}");
        }
        let asked = stand.ask(&head("HEAD", &[]));
        assert!(matches!(asked.body, Body::Empty) && field(&asked, "content-length") == "100000");
        assert_eq!(stand.ask(&get(&[("if-none-match", &tag)])).status, 304);
        assert_eq!(stand.ask(&get(&[("if-match", "\"other\"")])).status, 412);
        let part = stand.ask(&get(&[("range", "bytes=0-9"), ("if-range", &tag)]));
        assert_eq!((part.status, octets(part).len()), (206, 10));
        let all = stand.ask(&get(&[("range", "bytes=0-9"), ("if-range", "\"other\"")]));
        assert_eq!((all.status, octets(all).len()), (200, LENGTH));
    }

    #[test]
    fn a_file_that_just_changed_is_not_kept() {
        let stand = Stand::new();
        let path = stand.path();
        for _ in 0..4 {
            assert!(is_read(&stand.ask_at(&path, Duration::ZERO, &get(&[])).unwrap()));
        }
        // A time of modification long ago does not hide that of the change.
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        for _ in 0..4 {
            assert!(is_read(&stand.ask_at(&path, Duration::ZERO, &get(&[])).unwrap()));
        }
    }

    #[test]
    fn what_has_no_size_or_no_positions_is_never_kept() {
        let stand = Stand::new();
        let status = Path::new("/proc/self/status");
        for _ in 0..4 {
            let response = stand.ask_at(status, Duration::from_secs(10), &get(&[])).unwrap();
            assert!(!matches!(response.body, Body::Full(octets) if !octets.is_empty()));
        }
        let fifo = stand.dir.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        for _ in 0..4 {
            assert!(matches!(
                stand.ask_at(&fifo, Duration::from_secs(10), &get(&[])),
                Err(FileError::Special)
            ));
        }
        assert!(stand.contents.borrow().is_empty());
        stand.warm();
        assert!(!stand.contents.borrow().is_empty());
    }
}
