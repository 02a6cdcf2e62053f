//! What a scripted peer hears.
//!
//! Two ways: [`Peer::next_frame`] takes frames one after the other, the expectations look for one and keep the others for
//! later. An expectation about a stream looks at the next frame of that stream (WINDOW_UPDATE aside), so that a wrong
//! one fails at once instead of after the deadline.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use stagedoor_actors::convert;
use stagedoor_protocol::{ErrorCode, StreamId};

use super::super::frame::{Data, Frame, GoAway, Headers};
use super::super::response::{Informational, Response};
use super::super::run::settle;
use super::{At, Peer};

impl Peer {
    /// The next frame, whatever it is.
    /// # Panics
    /// At the end of the connection, and after the deadline.
    #[track_caller]
    pub fn next_frame(&mut self) -> impl Future<Output = Frame> {
        let at = Location::caller();
        async move {
            match self.kept.pop_front() {
                Some(frame) => frame,
                None => self.read_on(at).await,
            }
        }
    }

    /// The first frame that is `wanted`; those before it are kept for other expectations.
    /// # Panics
    /// When the connection ends without it, and after the deadline.
    #[track_caller]
    pub fn expect(&mut self, wanted: impl Fn(&Frame) -> bool) -> impl Future<Output = Frame> {
        let at = Location::caller();
        async move { self.find(wanted, at).await }
    }

    /// The next frame of a stream, which has to be a header section: a head, or trailers.
    /// # Panics
    /// When it is something else, the connection ends, and after the deadline.
    #[track_caller]
    pub fn expect_headers(&mut self, stream: impl Into<StreamId>) -> impl Future<Output = Headers> {
        let (at, stream) = (Location::caller(), stream.into());
        async move {
            match self.next_of(stream, at).await {
                Frame::Headers(headers) => headers,
                other => self.is_not("HEADERS", &other, at),
            }
        }
    }

    /// The next frame of a stream, which has to be DATA.
    /// # Panics
    /// When it is something else, the connection ends, and after the deadline.
    #[track_caller]
    pub fn expect_data(&mut self, stream: impl Into<StreamId>) -> impl Future<Output = Data> {
        let (at, stream) = (Location::caller(), stream.into());
        async move {
            match self.next_of(stream, at).await {
                Frame::Data(data) => data,
                other => self.is_not("DATA", &other, at),
            }
        }
    }

    /// The next frame of a stream, which has to reset it; says why it does.
    /// # Panics
    /// When it is something else, the connection ends, and after the deadline.
    #[track_caller]
    pub fn expect_reset(&mut self, stream: impl Into<StreamId>) -> impl Future<Output = ErrorCode> {
        let (at, stream) = (Location::caller(), stream.into());
        async move {
            match self.next_of(stream, at).await {
                Frame::RstStream { code, .. } => code,
                other => self.is_not("RST_STREAM", &other, at),
            }
        }
    }

    /// The next GOAWAY.
    /// # Panics
    /// When the connection ends without it, and after the deadline.
    #[track_caller]
    pub fn expect_goaway(&mut self) -> impl Future<Output = GoAway> {
        let at = Location::caller();
        async move {
            match self.find(|frame| matches!(frame, Frame::GoAway(_)), at).await {
                Frame::GoAway(goaway) => goaway,
                other => self.is_not("GOAWAY", &other, at),
            }
        }
    }

    /// The end of the connection; frames before it are kept.
    /// # Panics
    /// After the deadline.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            while let Some(frame) = self.read(at).await {
                self.kept.push_back(frame);
            }
        }
    }

    /// Lets everything run that can run, and sees that nothing of a stream came (WINDOW_UPDATE aside): it waits for
    /// something. Stream 0 stands for any stream.
    /// # Panics
    /// When something came.
    #[track_caller]
    pub fn expect_nothing(&mut self, stream: impl Into<StreamId>) -> impl Future<Output = ()> {
        let (at, stream) = (Location::caller(), stream.into());
        async move {
            settle().await;
            while let Some(frame) = self.read_now(at).await {
                self.kept.push_back(frame);
            }
            let about = |frame: &&Frame| {
                let any = stream.is_connection() && !frame.stream().is_connection();
                (any || frame.stream() == stream) && !is_credit(frame)
            };
            if let Some(frame) = self.kept.iter().find(about) {
                panic!("nothing should come, asked at {at}; there is {frame:?}");
            }
        }
    }

    /// The whole answer to a request on `stream`. Gives no window credit.
    /// # Panics
    /// When the stream or the connection ends before, and after the deadline.
    #[track_caller]
    pub fn response(&mut self, stream: impl Into<StreamId>) -> impl Future<Output = Response> {
        let (at, stream) = (Location::caller(), stream.into());
        async move { self.collect(stream, at).await }
    }

    async fn collect(&mut self, stream: StreamId, at: At) -> Response {
        let mut informational = Vec::new();
        let mut whole: Option<(Response, BytesMut)> = None;
        loop {
            let frame = self.next_of(stream, at).await;
            let end = frame.ends_stream();
            match (frame, &mut whole) {
                (Frame::Headers(headers), None) => {
                    let head = self.head_of(headers, at);
                    match head.status.is_informational() {
                        true => informational.push(head),
                        false => {
                            let Informational { status, headers } = head;
                            let informational = std::mem::take(&mut informational);
                            let body = bytes::Bytes::new();
                            let response = Response { status, headers, body, trailers: None, informational };
                            whole = Some((response, BytesMut::new()));
                        }
                    }
                }
                (Frame::Headers(trailers), Some((response, _))) => {
                    response.trailers = Some(convert::to_headers(&trailers.fields));
                }
                (Frame::Data(data), Some((_, body))) => body.extend_from_slice(&data.data),
                (other, _) => self.is_not("a part of the answer", &other, at),
            }
            if end && let Some((mut response, body)) = whole.take() {
                response.body = body.freeze();
                return response;
            }
        }
    }

    fn head_of(&self, headers: Headers, at: At) -> Informational {
        let status = headers.status().and_then(|status| http::StatusCode::from_u16(status).ok());
        let Some(status) = status else {
            panic!("a head without a status: {headers:?}, asked at {at}; {}", self.story());
        };
        let mut fields = headers.fields;
        fields.remove(":status");
        Informational { status, headers: convert::to_headers(&fields) }
    }

    /// The next frame of a stream that is not credit.
    async fn next_of(&mut self, stream: StreamId, at: At) -> Frame {
        self.find(|frame| frame.stream() == stream && !is_credit(frame), at).await
    }

    /// The first that is wanted, of those that were kept and those to come.
    async fn find(&mut self, wanted: impl Fn(&Frame) -> bool, at: At) -> Frame {
        if let Some(place) = self.kept.iter().position(&wanted)
            && let Some(frame) = self.kept.remove(place)
        {
            return frame;
        }
        loop {
            let frame = self.read_on(at).await;
            if wanted(&frame) {
                return frame;
            }
            self.kept.push_back(frame);
        }
    }

    async fn read_on(&mut self, at: At) -> Frame {
        match self.read(at).await {
            Some(frame) => frame,
            None => panic!("the connection has ended, asked at {at}; {}", self.story()),
        }
    }

    /// A frame that is there already. What there is of one that is not whole stays for later.
    async fn read_now(&mut self, at: At) -> Option<Frame> {
        let mut reading = pin!(self.read(at));
        poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn is_not(&self, wanted: &str, frame: &Frame, at: At) -> ! {
        panic!("{wanted} was asked for at {at}, and {frame:?} came; {}", self.story())
    }
}

fn is_credit(frame: &Frame) -> bool {
    matches!(frame, Frame::WindowUpdate { .. })
}
