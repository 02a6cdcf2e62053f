//! [`FileResponse`]: heads, sources, ranges, conditions, and what is refused.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use stagedoor_actors::Response;
use stagedoor_actors::files::{FileError, FileSource, Verdict};
use stagedoor_metrics::Outcome;

use super::*;

/// A small one goes in one message, a large one is streamed; both sources and both sizes look the same.
#[test]
fn a_file_is_sent_whole_from_every_source() {
    run(async {
        for length in [0, 1, 16_384, 131_072, 131_073, 1_000_000] {
            let (_dir, path) = file_of(length);
            let shared = Arc::new(File::open(&path).unwrap());
            let (by_path, kept) = (path.clone(), Arc::clone(&shared));
            let owned = path.clone();
            let sources: [Box<dyn Fn() -> FileSource>; 3] = [
                Box::new(move || FileSource::Path(by_path.clone())),
                Box::new(move || FileSource::Owned(File::open(&owned).unwrap())),
                Box::new(move || FileSource::Shared(Arc::clone(&kept))),
            ];
            for source in sources {
                let (answer, stage) =
                    once(serving(move || FileResponse::new(source())), Method::GET, &[]).await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("content-length"), length.to_string());
                assert_eq!(answer.header("accept-ranges"), "bytes");
                assert_eq!(answer.header("last-modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
                assert!(answer.header("etag").starts_with('"'));
                assert!(answer.octets() == octets(0..length), "{length}");
                assert_eq!(stage.outcome(Outcome::Complete), 1);
                assert_eq!(open_on(&path), 1, "the shared one stays open, and only that one");
            }
            assert_eq!(shared.metadata().unwrap().len(), length as u64, "and it can still be used");
        }
    });
}

#[test]
fn head_and_statuses_without_content_send_no_octets_and_are_no_errors() {
    run(async {
        let (_dir, path) = file_of(300_000);
        let of = path.clone();
        let (answer, _) = once(serving(move || FileResponse::path(&of)), Method::HEAD, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "300000"));
        assert!(answer.octets().is_empty() && answer.headers.contains_key("etag"));
        for status in [204, 205, 304] {
            let of = path.clone();
            let answer = get(serving(move || FileResponse::path(&of).status(status)), &[]).await;
            assert_eq!(answer.status, status);
            assert!(answer.octets().is_empty());
            assert!(!answer.headers.contains_key("content-length"), "{status}");
        }
        assert_eq!(open_on(&path), 0);
    });
}

#[test]
fn offset_and_length_pick_octets_and_past_the_end_is_416() {
    run(async {
        let (_dir, path) = file_of(1_000);
        let pick = |offset, length: Option<u64>| {
            let path = path.clone();
            serving(move || {
                let response = FileResponse::path(&path).offset(offset);
                match length {
                    Some(length) => response.length(length),
                    None => response,
                }
            })
        };
        // A `range` of the request is not looked at: the application has chosen.
        for (offset, length, expected) in [
            (10, None, 10..1_000),
            (10, Some(5), 10..15),
            (990, Some(u64::MAX), 990..1_000),
            (1_000, None, 1_000..1_000),
            (0, Some(0), 0..0),
        ] {
            let answer = get(pick(offset, length), &[("range", "bytes=0-0")]).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-length"), expected.len().to_string());
            assert!(answer.octets() == octets(expected));
        }
        for offset in [1_001, u64::from(u32::MAX) + 1, u64::MAX] {
            let answer = get(pick(offset, None), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-range")), (416, "bytes */1000"));
        }
    });
}

#[test]
fn offsets_past_four_gigabytes_are_not_cut() {
    run(async {
        let (_dir, path) = file_of(0);
        let file = File::options().write(true).open(&path).unwrap();
        let place = (1 << 32) + 5;
        file.write_all_at(b"far out", place).unwrap();
        let of = path.clone();
        let answer = get(serving(move || FileResponse::path(&of).offset(place)), &[]).await;
        assert_eq!(answer.octets(), b"far out");
        let of = path.clone();
        let range = [("range", "bytes=4294967301-4294967303")];
        let answer = get(serving(move || FileResponse::path(&of)), &range).await;
        assert_eq!(answer.header("content-range"), "bytes 4294967301-4294967303/4294967308");
        assert_eq!((answer.status.as_u16(), answer.octets()), (206, &b"far"[..]));
    });
}

#[test]
fn a_single_range_is_206_and_several_are_the_whole() {
    run(async {
        let (_dir, path) = file_of(500_000);
        let service = serving(move || FileResponse::path(&path));
        let answer = get(Rc::clone(&service), &[("range", "bytes=100-299999")]).await;
        assert_eq!(answer.status, 206);
        assert_eq!(answer.header("content-range"), "bytes 100-299999/500000");
        assert_eq!(answer.header("content-length"), "299900");
        assert!(answer.octets() == octets(100..300_000));
        let answer = get(Rc::clone(&service), &[("range", "bytes=-10")]).await;
        assert!(answer.octets() == octets(499_990..500_000));
        let answer = get(Rc::clone(&service), &[("range", "bytes=500000-")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (416, "bytes */500000"));
        for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-8"] {
            let answer = get(Rc::clone(&service), &[("range", range)]).await;
            assert_eq!((answer.status.as_u16(), answer.octets().len()), (200, 500_000), "{range}");
        }
        let (answer, _) = once(service, Method::HEAD, &[("range", "bytes=0-1")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "500000"));
    });
}

#[test]
fn conditions_are_answered_304_and_412_and_if_range_guards_a_range() {
    run(async {
        let (_dir, path) = file_of(1_000);
        let service = serving(move || {
            FileResponse::path(&path).field("content-type", "text/plain").field("cache-control", "no-cache")
        });
        let first = get(Rc::clone(&service), &[]).await;
        let (tag, date) = (first.header("etag"), first.header("last-modified"));
        for condition in [("if-none-match", tag), ("if-modified-since", date)] {
            let answer = get(Rc::clone(&service), &[condition]).await;
            assert_eq!((answer.status.as_u16(), answer.octets().len()), (304, 0), "{condition:?}");
            assert_eq!((answer.header("etag"), answer.header("cache-control")), (tag, "no-cache"));
            assert!(!answer.headers.contains_key("content-type"));
            assert!(!answer.headers.contains_key("content-length"));
        }
        let old = "Sun, 06 Nov 1994 08:49:36 GMT";
        for condition in [("if-match", "\"other\""), ("if-unmodified-since", old)] {
            assert_eq!(get(Rc::clone(&service), &[condition]).await.status, 412, "{condition:?}");
        }
        let range = ("range", "bytes=0-0");
        for (condition, status) in [(tag, 206), (date, 206), ("\"other\"", 200), (old, 200)] {
            let answer = get(Rc::clone(&service), &[range, ("if-range", condition)]).await;
            assert_eq!(answer.status, status, "{condition}");
        }
        let both = get(service, &[range, ("if-none-match", tag)]).await;
        assert_eq!(both.status, 304, "conditions go before ranges");
    });
}

#[test]
fn a_stat_check_edits_head_and_range_or_declines() {
    run(async {
        let (_dir, path) = file_of(1_000);
        let of = path.clone();
        let service = serving(move || {
            FileResponse::path(&of).field("x-a", "1").stat_check(|stat, head, range| {
                assert_eq!(stat.len(), 1_000);
                head.status = 203;
                head.fields.set("x-a", "2");
                range.offset = 4;
                range.length = Some(3);
                Verdict::Send
            })
        });
        let answer = get(service, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-a")), (203, "2"));
        assert_eq!((answer.header("content-length"), answer.octets()), ("3", &octets(4..7)[..]));

        let of = path.clone();
        let service = serving(move || {
            let own = || Response::new(304).with_field("etag", "\"own\"");
            FileResponse::path(&of).stat_check(move |_, _, _| Verdict::Decline(own()))
        });
        let answer = get(service, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (304, "\"own\""));
        assert_eq!(open_on(&path), 0);
    });
}

#[test]
fn what_cannot_be_sent_is_a_typed_error_before_the_head() {
    run(async {
        let (dir, path) = file_of(10);
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let none = dir.path().join("none");
        let behind_a_file = path.join("x");
        for (path, status, words) in [
            (none, 404, "no such file\n"),
            (behind_a_file, 404, "no such file\n"),
            (PathBuf::from("a\0b"), 404, "no such file\n"),
            (dir.path().to_owned(), 403, "this is a directory\n"),
            (fifo.clone(), 403, "this is no regular file\n"),
            (PathBuf::from("/dev/zero"), 403, "this is no regular file\n"),
        ] {
            let answer = get(serving(move || FileResponse::path(&path)), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.octets()), (status, words.as_bytes()));
        }
        let service = serving(move || {
            FileResponse::path(&fifo).allow_special(true).length(1).on_error(|error| {
                assert!(matches!(error, FileError::NoSeek));
                Response::text("mine")
            })
        });
        assert_eq!(get(service, &[]).await.octets(), b"mine");
    });
}
