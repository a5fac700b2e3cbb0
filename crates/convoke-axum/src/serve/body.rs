use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::pulse::{Open, OpenBody};

/// Why a request body was cut. Set once, read by the service when the handler has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// More bytes than allowed.
    TooLong,
    /// The whole body was not there in time.
    TooSlow,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::TooLong => "request body too long",
            Cut::TooSlow => "request body too slow",
        })
    }
}

impl std::error::Error for Cut {}

/// A request's body with a limit on its bytes and on the time it takes as a whole.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Incoming,
    bytes_left: u64,
    timeout: Duration,
    /// Starts when the body is first read: until then the client may have to wait for us.
    deadline: Option<Pin<Box<Sleep>>>,
    cut: Arc<OnceLock<Cut>>,
    ended: bool,
    open: OpenBody,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, bytes_max: u64, timeout: Duration, open: OpenBody) -> Self {
        let ended = incoming.is_end_stream();
        let cut = Arc::new(OnceLock::new());
        Self { incoming, bytes_left: bytes_max, timeout, deadline: None, cut, ended, open }
    }

    /// Says whether, and why, the body was cut.
    pub(super) fn cut(&self) -> Arc<OnceLock<Cut>> {
        Arc::clone(&self.cut)
    }

    fn give_up(&mut self, cut: Cut) -> BoxError {
        // Only the first reason counts, and there is only one: nothing is read after it.
        let _ = self.cut.set(cut);
        cut.into()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended || this.cut.get().is_some() {
            return Poll::Ready(None);
        }
        // The deadline is asked first: a byte per second is always ready in time for the next one.
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(this.timeout)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(this.give_up(Cut::TooSlow))));
        }
        let Some(frame) = ready!(Pin::new(&mut this.incoming).poll_frame(cx)) else {
            this.ended = true;
            return Poll::Ready(None);
        };
        let frame = frame?;
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.bytes_left.checked_sub(bytes) {
            Some(left) => this.bytes_left = left,
            None => return Poll::Ready(Some(Err(this.give_up(Cut::TooLong)))),
        }
        this.ended = this.incoming.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended {
            self.open.left_unread();
        }
    }
}

/// A response's body. Its connection is busy until hyper has taken the last of it.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: axum::body::Body,
    _open: Open,
}

impl ResponseBody {
    pub(super) fn new(body: axum::body::Body, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
