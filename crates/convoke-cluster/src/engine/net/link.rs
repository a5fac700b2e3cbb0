use std::io;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::frame::{self, Frame, FrameError, Frames};
use super::kind::Kind;
use super::lane::Lane;
use super::outbox;
use super::timing::Timing;
use super::waiting::{Ticket, Waiting};
use super::wire::BoxWire;
use bytes::Bytes;

/// Questions under way on one connection, beside the entries of a session. One more waits.
pub(crate) const QUESTIONS_MAX: usize = 256;

/// The caller's end of a connection that was welcomed. Cloning is cheap; the last one to go hangs up.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lane: Lane,
    timing: Timing,
    opened: Instant,
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    questions: Semaphore,
    tasks: [AbortHandle; 2],
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nothing left this node.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("{0}")]
    Lost(String),
    /// It arrived, and the peer could not.
    #[error("the peer failed: {0}")]
    Failed(String),
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        Self::NotSent(error.to_string())
    }
}

impl Link {
    /// Starts to read and write.
    pub(crate) fn start<R>(
        lane: Lane,
        timing: Timing,
        from: Frames<R>,
        to: tokio::io::WriteHalf<BoxWire>,
    ) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let waiting = Arc::new(Waiting::default());
        let (queue, queued) = outbox::outbox();
        let (ours, stall) = (Arc::clone(&waiting), timing.stall);
        let writer = tokio::spawn(async move {
            if let Err(error) = outbox::write(to, queued, stall).await {
                ours.close(&format!("the connection broke: {error}"));
            }
        });
        let ours = Arc::clone(&waiting);
        let reader = tokio::spawn(async move {
            let why = match read(from, lane, &ours).await {
                Ok(()) => "the peer hung up".to_owned(),
                Err(error) => format!("the connection broke: {error}"),
            };
            ours.close(&why);
        });
        let tasks = [writer.abort_handle(), reader.abort_handle()];
        let questions = Semaphore::new(QUESTIONS_MAX);
        Self {
            inner: Arc::new(Inner { lane, timing, opened: Instant::now(), queue, waiting, questions, tasks }),
        }
    }

    /// Asks, and waits for the answer until the deadline.
    pub(crate) async fn ask<Q, A>(&self, kind: Kind, question: &Q, deadline: Instant) -> Result<A, LinkError>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        let busy = |_| LinkError::NotSent(format!("{QUESTIONS_MAX} questions are under way"));
        let permit = timeout_at(deadline, self.inner.questions.acquire()).await.map_err(busy)?;
        let _permit = permit.map_err(|_| LinkError::NotSent("closed".to_owned()))?;
        let mut session = self.open(1)?;
        timeout_at(deadline, session.send(kind, question))
            .await
            .map_err(|_| LinkError::NotSent("the connection takes nothing".to_owned()))??;
        match timeout_at(deadline, session.answer()).await {
            Ok(answer) => answer?.read().map_err(|error| LinkError::Lost(error.to_string())),
            Err(_) => {
                self.cut_when_silent();
                Err(LinkError::Lost("no answer in time".to_owned()))
            }
        }
    }

    /// A ticket of its own for many messages. At most `answers_max` of their answers may lie unread.
    pub(crate) fn open(&self, answers_max: usize) -> Result<Session, LinkError> {
        let ticket =
            self.inner.waiting.open(answers_max).map_err(|why| LinkError::NotSent(why.to_string()))?;
        Ok(Session { ticket, link: self.clone() })
    }

    /// Whether it can still be used. On lanes where answers come at once, silence closes it: what was sent may have
    /// gone into a void that a new connection finds a way around.
    pub(crate) fn is_open(&self) -> bool {
        if matches!(self.inner.lane, Lane::Log | Lane::Control) {
            self.cut_when_silent();
        }
        self.inner.waiting.closed().is_none()
    }

    pub(crate) fn opened(&self) -> Instant {
        self.inner.opened
    }

    /// Why it is closed, if it is.
    pub(crate) fn closed(&self) -> Option<Arc<str>> {
        self.inner.waiting.closed()
    }

    /// Closes it for everybody.
    pub(crate) fn cut(&self, why: &str) {
        self.inner.waiting.close(why);
        for task in &self.inner.tasks {
            task.abort();
        }
    }

    fn cut_when_silent(&self) {
        let silence = self.inner.waiting.silence();
        if silence >= self.inner.timing.answer {
            self.cut(&format!("the peer answered nothing for {silence:?}"));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Several messages and answers under one ticket.
#[derive(Debug)]
pub(crate) struct Session {
    ticket: Ticket,
    link: Link,
}

impl Session {
    /// Queues one message.
    pub(crate) async fn send<T>(&self, kind: Kind, message: &T) -> Result<(), LinkError>
    where
        T: Serialize + ?Sized,
    {
        self.send_encoded(self.encode(kind, message)?).await
    }

    /// The bytes of one message of this session.
    pub(crate) fn encode<T: Serialize + ?Sized>(&self, kind: Kind, message: &T) -> Result<Bytes, FrameError> {
        frame::encode(kind, &(self.ticket.number, message))
    }

    /// Queues what [`encode`](Self::encode) made.
    pub(crate) async fn send_encoded(&self, bytes: Bytes) -> Result<(), LinkError> {
        let sent = self.link.inner.queue.send(bytes).await;
        sent.map_err(|_| LinkError::NotSent(self.why_closed()))
    }

    /// The next answer, in the order in which they were given.
    pub(crate) async fn answer(&mut self) -> Result<Frame, LinkError> {
        let Some(frame) = self.ticket.answers.recv().await else {
            return Err(LinkError::Lost(self.why_closed()));
        };
        if frame.kind == Kind::Failed {
            let why = frame.read().unwrap_or_else(|error| error.to_string());
            return Err(LinkError::Failed(why));
        }
        Ok(frame)
    }

    /// Closes the connection, for everybody on it.
    pub(crate) fn cut(&self, why: &str) {
        self.link.cut(why);
    }

    fn why_closed(&self) -> String {
        self.link.closed().map_or_else(|| "the connection is closed".to_owned(), |why| why.to_string())
    }
}

/// Hands out answers until the peer hangs up.
async fn read<R>(mut from: Frames<R>, lane: Lane, waiting: &Waiting) -> io::Result<()>
where
    R: AsyncRead + Unpin,
{
    while let Some(frame) = from.next(lane.answers()).await? {
        let (number, frame) = frame.ticket()?;
        waiting.arrived(number, frame).map_err(io::Error::other)?;
    }
    Ok(())
}
