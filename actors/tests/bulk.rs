//! Large bodies: how they meet the socket, and how a handler gets them. What it is good for: docs/performance.md.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::*;
use http_body::Frame;
use stagedoor_actors::{Body, Reply, Response};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A pipe that notes how many octets each write took.
struct Noted {
    inner: DuplexStream,
    writes: Rc<RefCell<Vec<usize>>>,
}

impl Noted {
    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = &wrote {
            self.writes.borrow_mut().push(*octets);
        }
        wrote
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, octets);
        self.note(wrote)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.note(wrote)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// So many pieces of so many octets, all at hand.
struct Pieces {
    left: usize,
    size: usize,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.size])))))
    }
}

/// Preface, SETTINGS with windows of 1 MiB for streams, 1 MiB more for the connection.
fn wide_hello() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 4, 0, 16, 0, 0]);
    [PREFACE, &settings, &frame(8, 0, 0, &(1_u32 << 20).to_be_bytes())].concat()
}

#[test]
fn a_body_that_is_at_hand_meets_the_socket_in_large_pieces() {
    run(async {
        let stage = Stage::new(service(|_| {
            Response::new(200).with_body(Body::stream(Pieces { left: 50, size: 10_000 })).into()
        }));
        let writes = Rc::new(RefCell::new(Vec::new()));
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let _session = stage.host.spawn_session(Noted { inner: ours, writes: Rc::clone(&writes) }, None);
        let mut client = Raw::new(theirs);
        client.send(&[wide_hello(), get(1)].concat()).await;
        settle().await;
        let writes = writes.borrow();
        let octets: usize = writes.iter().sum();
        assert!(octets > 500_000, "{writes:?}");
        assert!(writes.len() <= 5, "{writes:?}");
        assert!(writes.iter().all(|octets| *octets <= (512 << 10) + 20_000), "{writes:?}");
    });
}

#[test]
fn a_body_in_tiny_pieces_does_not_keep_the_socket_waiting() {
    run(async {
        let stage = Stage::new(service(|_| {
            Response::new(200).with_body(Body::stream(Pieces { left: 300_000, size: 1 })).into()
        }));
        let writes = Rc::new(RefCell::new(Vec::new()));
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let _session = stage.host.spawn_session(Noted { inner: ours, writes: Rc::clone(&writes) }, None);
        let mut client = Raw::new(theirs);
        client.send(&[wide_hello(), get(1)].concat()).await;
        while client.next().await.unwrap().kind != 0 {}
        let writes = writes.borrow();
        assert!(writes.iter().all(|octets| *octets <= (512 << 10) + 20_000), "{writes:?}");
        assert!(writes.iter().sum::<usize>() < 2_000_000, "the first octets came before the last were made");
    });
}

#[test]
fn a_handler_takes_a_body_read_by_read() {
    run(async {
        let gulps = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&gulps);
        let stage = Stage::new(service(move |request| {
            let (mut body, taken) = (request.body, Rc::clone(&taken));
            Reply::later(std::future::poll_fn(move |cx| {
                let mut gulp = 0;
                loop {
                    match body.poll_chunk(cx) {
                        Poll::Ready(Some(piece)) => gulp += piece.unwrap().len(),
                        Poll::Ready(None) => {
                            taken.borrow_mut().push(gulp);
                            return Poll::Ready(Response::new(204));
                        }
                        Poll::Pending => {
                            taken.borrow_mut().push(gulp);
                            return Poll::Pending;
                        }
                    }
                }
            }))
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        let mut octets = post(1);
        for n in 1..=12 {
            octets.extend(frame(0, u8::from(n == 12), 1, &[b'x'; 16_384]));
        }
        client.send(&octets).await;
        settle().await;
        let gulps = gulps.borrow();
        assert_eq!(gulps.iter().sum::<usize>(), 12 * 16_384);
        // Not all at once at the end: what one read of 64 KiB brought, and the frame it completed.
        assert!(gulps.iter().all(|octets| *octets <= 5 * 16_384), "{gulps:?}");
    });
}
