use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::alias::LogIdOf;
use openraft::base::BoxStream;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::time::{Instant, timeout, timeout_at};

use super::client::unreachable;
use super::dial::Dial;
use super::frame::FrameError;
use super::kind::Kind;
use super::link::{LinkError, Session};
use super::timing::Timing;
use crate::engine::types::Types;

/// Appends of one session that are not answered yet.
pub(crate) const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Bytes of them; the last one may exceed it.
pub(crate) const APPEND_BYTES_IN_FLIGHT_MAX: usize = 16 * 1024 * 1024;

type Answered = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Sends what comes in, many at once, and yields the answers in order.
///
/// The end of the input, once all is answered, is the end of the session and no error: the connection stays for the
/// next one. Silence is an error that makes openraft pause.
pub(super) fn session<'s, S>(dial: Dial, input: S, timing: Timing) -> BoxStream<'s, Answered>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    // Connected to when it is polled, which openraft does until it leads no more.
    let begin = Phase::Begin { dial, input: Box::pin(input), timing };
    Box::pin(stream::unfold(begin, async |phase| {
        let mut appends = match phase {
            Phase::Over => return None,
            Phase::Going(appends) => appends,
            Phase::Begin { dial, input, timing } => match begin_session(&dial, timing).await {
                Ok(session) => Appends::new(session, input, timing),
                Err(why) => return Some((Err(unreachable(why)), Phase::Over)),
            },
        };
        let answered = appends.next().await?;
        Some((answered, Phase::Going(appends)))
    }))
}

type Input = Pin<Box<dyn Stream<Item = AppendEntriesRequest<Types>> + Send>>;

enum Phase {
    Begin { dial: Dial, input: Input, timing: Timing },
    Going(Appends),
    Over,
}

async fn begin_session(dial: &Dial, timing: Timing) -> Result<Session, String> {
    let link = timeout(timing.connect + timing.handshake, dial.link()).await;
    match link {
        // One append may be sent in parts, each with its answer.
        Ok(Ok(link)) => link.open(ANSWERS_MAX).map_err(|error| error.to_string()),
        Ok(Err(away)) => {
            // openraft pauses only where it takes its entries from, and they are not taken before there is a
            // connection: without this it would ask again at once, for ever.
            away.over().await;
            Err(away.to_string())
        }
        Err(_) => Err("no connection in time".to_owned()),
    }
}

/// Answers of one session that may lie unread: one for each append under way.
const ANSWERS_MAX: usize = APPENDS_IN_FLIGHT_MAX;

struct Appends {
    input: Input,
    ended: bool,
    session: Session,
    /// Parts of the last append that have to wait for room.
    unsent: VecDeque<Part>,
    /// What was sent and is not answered.
    in_flight: VecDeque<Sent>,
    bytes: usize,
    heard: Instant,
    timing: Timing,
    over: bool,
}

/// An append, or one of those that it is sent as.
struct Part {
    bytes: Bytes,
    end: End,
}

struct Sent {
    at: Instant,
    bytes: usize,
    end: End,
}

/// Where the entries of an append end; without entries, what they would follow.
type End = Option<LogIdOf<Types>>;

/// What to do next.
enum Step {
    Send(Option<AppendEntriesRequest<Types>>),
    Answer(Result<super::frame::Frame, LinkError>),
    Silence,
}

impl Appends {
    fn new(session: Session, input: Input, timing: Timing) -> Self {
        Self {
            input,
            ended: false,
            session,
            unsent: VecDeque::new(),
            in_flight: VecDeque::new(),
            bytes: 0,
            heard: Instant::now(),
            timing,
            over: false,
        }
    }

    async fn next(&mut self) -> Option<Answered> {
        while !self.over {
            if let Err(error) = self.send_unsent().await {
                return Some(self.fail(error.to_string()));
            }
            if self.ended && self.in_flight.is_empty() && self.unsent.is_empty() {
                self.over = true;
                // Not even this has to arrive: the next session says the same.
                let _ = self.session.send(Kind::AppendEnd, &()).await;
                return None;
            }
            match self.step().await {
                Step::Send(Some(request)) => {
                    if let Err(error) = self.encode(request) {
                        return Some(self.fail(error.to_string()));
                    }
                }
                Step::Send(None) => self.ended = true,
                Step::Answer(answer) => {
                    let answered = self.answered(answer);
                    if !self.is_ambiguous(&answered) {
                        return Some(answered);
                    }
                }
                Step::Silence => {
                    let why = format!("the peer answered no append for {:?}", self.timing.answer);
                    self.session.cut(&why);
                    return Some(self.fail(why));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Step {
        let has_room = self.has_room();
        let oldest = self.in_flight.front().map(|sent| sent.at.max(self.heard));
        let silence_at = oldest.unwrap_or_else(Instant::now) + self.timing.answer;
        tokio::select! {
            biased;
            answer = timeout_at(silence_at, self.session.answer()), if oldest.is_some() => match answer {
                Ok(answer) => Step::Answer(answer),
                Err(_) => Step::Silence,
            },
            request = self.input.next(), if has_room && !self.ended && self.unsent.is_empty() => Step::Send(request),
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < APPENDS_IN_FLIGHT_MAX && self.bytes < APPEND_BYTES_IN_FLIGHT_MAX
    }

    /// Sends parts while there is room for them.
    async fn send_unsent(&mut self) -> Result<(), LinkError> {
        while self.has_room()
            && let Some(part) = self.unsent.pop_front()
        {
            let bytes = part.bytes.len();
            self.in_flight.push_back(Sent { at: Instant::now(), bytes, end: part.end });
            self.bytes += bytes;
            self.session.send_encoded(part.bytes).await?;
        }
        Ok(())
    }

    /// Encodes an append, in halves when it is too large for a frame.
    fn encode(&mut self, request: AppendEntriesRequest<Types>) -> Result<(), FrameError> {
        let mut whole = vec![request];
        while let Some(mut request) = whole.pop() {
            match self.session.encode(Kind::Append, &request) {
                Ok(bytes) => self.unsent.push_back(Part { bytes, end: end(&request) }),
                Err(FrameError::TooLarge { .. }) if request.entries.len() > 1 => {
                    let second = second_half(&mut request);
                    whole.push(second);
                    whole.push(request);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn answered(&mut self, answer: Result<super::frame::Frame, LinkError>) -> Answered {
        self.heard = Instant::now();
        if let Some(sent) = self.in_flight.pop_front() {
            self.bytes -= sent.bytes;
        }
        match answer.and_then(|frame| Ok(frame.read::<StreamAppendResult<Types>>()?)) {
            Ok(result) => {
                // A refusal ends the session at the other end too: what else is under way is not answered.
                self.over = result.is_err();
                Ok(result)
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Whether openraft would take it for the answer to an append that was sent later. It looks only at where the entries
    /// end, and one without entries ends where the one before it does: a leader that stood still would believe that it
    /// was heard a moment ago, and answer reads from what it knew. The later append's own answer says all that this one
    /// does.
    fn is_ambiguous(&self, answered: &Answered) -> bool {
        let Ok(Ok(matching)) = answered else { return false };
        let sent = self.in_flight.iter().map(|sent| &sent.end);
        let mut later = sent.chain(self.unsent.iter().map(|part| &part.end));
        later.any(|end| end <= matching)
    }

    fn fail(&mut self, why: String) -> Answered {
        self.over = true;
        Err(unreachable(why))
    }
}

fn end(request: &AppendEntriesRequest<Types>) -> End {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

/// Splits the entries: the second half follows the last entry of the first.
fn second_half(request: &mut AppendEntriesRequest<Types>) -> AppendEntriesRequest<Types> {
    let entries = request.entries.split_off(request.entries.len() / 2);
    AppendEntriesRequest {
        vote: request.vote,
        prev_log_id: request.entries.last().map(|entry| entry.log_id),
        entries,
        leader_commit: request.leader_commit,
    }
}
