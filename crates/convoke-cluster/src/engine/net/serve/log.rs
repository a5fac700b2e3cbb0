use std::io;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Conversation;
use crate::engine::net::append::APPENDS_IN_FLIGHT_MAX;
use crate::engine::net::frame::Frame;
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;
use crate::engine::types::Types;

/// Entries, session after session. One at a time: whoever begins a new one has given up the one before.
pub(super) async fn serve(mut conversation: Conversation) -> io::Result<()> {
    let mut session = None;
    let mut idle_at = Instant::now() + conversation.idle;
    loop {
        // Neither loses anything when the other one is first.
        tokio::select! {
            biased;
            answer = next_answer(&mut session) => {
                let (ticket, answer) = answer;
                let over = !matches!(answer, Ok(Ok(_)));
                conversation.replies.finish(Kind::Appended, ticket, answer).await?;
                if over && let Some(session) = &mut session {
                    session.answers = None;
                }
            }
            asked = super::next(&mut conversation.frames, Lane::Log, idle_at) => {
                let Some((ticket, frame)) = asked? else { return Ok(()) };
                idle_at = Instant::now() + conversation.idle;
                take(&conversation, &mut session, ticket, &frame)?;
            }
        }
    }
}

/// What one caller's ticket stands for.
struct Session {
    ticket: u64,
    /// `None`: the caller has no more entries.
    entries: Option<mpsc::Sender<AppendEntriesRequest<Types>>>,
    /// `None`: it is over. What still comes under its ticket was sent before its sender knew.
    answers: Option<BoxStream<'static, Result<StreamAppendResult<Types>, String>>>,
}

fn take(
    conversation: &Conversation,
    current: &mut Option<Session>,
    ticket: u64,
    frame: &Frame,
) -> io::Result<()> {
    if current.as_ref().is_none_or(|session| session.ticket < ticket) {
        let (entries, queued) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
        let queued = stream::unfold(queued, async |mut queued| Some((queued.recv().await?, queued)));
        let answers = conversation.service.append_all(queued.boxed());
        *current = Some(Session { ticket, entries: Some(entries), answers: Some(answers) });
    }
    let Some(session) = current.as_mut().filter(|session| session.ticket == ticket) else { return Ok(()) };
    if frame.kind == Kind::AppendEnd {
        session.entries = None;
        return Ok(());
    }
    let entries = frame.read()?;
    let Some(queue) = session.entries.as_ref().filter(|_| session.answers.is_some()) else { return Ok(()) };
    match queue.try_send(entries) {
        Err(mpsc::error::TrySendError::Full(_)) => {
            Err(io::Error::other(format!("more than {APPENDS_IN_FLIGHT_MAX} appends without an answer")))
        }
        // Closed: the session ended with an answer that is on its way.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
    }
}

/// The next answer of the session, if there is one that may still have answers.
async fn next_answer(current: &mut Option<Session>) -> (u64, Result<StreamAppendResult<Types>, String>) {
    if let Some(session) = current
        && let Some(answers) = &mut session.answers
    {
        if let Some(answer) = answers.next().await {
            return (session.ticket, answer);
        }
        session.answers = None;
    }
    std::future::pending().await
}
