//! Around files: what looks at one, what answers for one that is not there, what reads it.
//!
//! The read itself panics nowhere on purpose; that one on the pool would fail its body, `files::body` tests.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use stagedoor_actors::body::BoxBody;
use stagedoor_actors::files::FileResponse;
use stagedoor_actors::{Body, Reply, Response};
use stagedoor_metrics::{CloseReason, Outcome};

use crate::common::peer::get_head;
use crate::common::run_paused;
use crate::{BY_US, Http1, Scene, WHOLE};

fn file(octets: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("file");
    std::fs::write(&path, vec![b'f'; octets]).unwrap();
    (dir, path)
}

/// Descriptors of this process that are `path`.
fn open_on(path: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
}

#[test]
fn in_a_look_at_a_file_it_is_a_500_and_the_file_is_closed() {
    run_paused(async {
        let (_dir, path) = file(100_000);
        let of = path.clone();
        let answer = move |request: stagedoor_actors::Request| {
            FileResponse::path(&of).stat_check(|_, _, _| panic!("a look, on purpose")).answer(&request.head)
        };
        let mut scene = Scene::new(answer).await;
        let seen = scene.ask(&get_head("/x")).await;
        assert_eq!((seen.status, seen.cause, open_on(&path)), (500, WHOLE, 0));
        scene.lives_on().await;
        scene.counted(1, Outcome::Panic, 1);
    });
}

#[test]
fn in_the_answer_for_a_missing_file_it_is_a_500() {
    run_paused(async {
        let (dir, _) = file(1);
        let none = dir.path().join("none");
        let answer = move |request: stagedoor_actors::Request| {
            FileResponse::path(&none).on_error(|error| panic!("{error}, on purpose")).answer(&request.head)
        };
        let mut scene = Scene::new(answer).await;
        assert_eq!(scene.ask(&get_head("/x")).await.status, 500);
        scene.lives_on().await;
        scene.counted(1, Outcome::Panic, 1);
    });
}

/// The body of a file, which panics in place of its second read.
struct Torn(BoxBody, usize);

impl http_body::Body for Torn {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(self.1 > 0, "in a read, on purpose");
        let read = self.0.as_mut().poll_frame(cx);
        self.1 -= usize::from(read.is_ready());
        read
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

fn torn(path: PathBuf) -> impl Fn(stagedoor_actors::Request) -> Reply {
    move |request| {
        let path = path.clone();
        Reply::later(async move {
            let mut response: Response = FileResponse::path(path).response(&request.head).await;
            if let Body::Stream(body) = response.body {
                response.body = Body::stream(Torn(body, 1));
            }
            response
        })
    }
}

#[test]
fn in_a_read_it_is_a_reset_and_the_file_is_closed() {
    run_paused(async {
        let (_dir, path) = file(200_000);
        let mut scene = Scene::new(torn(path.clone())).await;
        let seen = scene.ask(&get_head("/x")).await;
        assert_eq!((seen.status, seen.cause, seen.body.len()), (200, BY_US, 64 << 10));
        assert_eq!(open_on(&path), 0);
        scene.lives_on().await;
        scene.counted(1, Outcome::Panic, 1);
    });
    run_paused(async {
        let (_dir, path) = file(200_000);
        let mut http1 = Http1::new(torn(path.clone())).await;
        let (answer, goes_on) = http1.get("/x").await;
        assert!(answer.contains("content-length: 200000") && !goes_on, "{}", &answer[..200]);
        assert!(answer.len() < 200_000, "less than was promised");
        assert_eq!(open_on(&path), 0);
        let scene = http1.ends_for(CloseReason::PanicBudget).await;
        scene.counted(1, Outcome::Panic, 1);
    });
}
