//! The dead letters of a namespace, to look at, to replay and to drop.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use convoke_core::{
    BoxFuture, Codec, LETTER_PAGE_MAX, Letter, LetterFilter, LetterPage, TransportError, TransportErrorKind,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error,
    api::{self, ApiError},
    inbox::Inbox,
    letter,
    link::Link,
    names,
    publishing::Publisher,
};

/// Most letters and bytes that one look asks for.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Letters that one call looks at for those that match; the rest is for the next call.
const SCAN_MAX: usize = 10_000;

/// What the server calls a batch that came to its end.
const END_OF_BATCH: u16 = 204;

/// The dead letters of a namespace; see [`convoke_core::DeadLetters`].
///
/// ```no_run
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use convoke_core::{DeadLetters as _, LetterFilter};
/// use tokio::time::Instant;
///
/// let transport = convoke_nats::Transport::connect("nats://127.0.0.1:4222").await?;
/// let letters = transport.dead_letters_of("convoke")?;
/// let by = Instant::now() + Duration::from_secs(10);
/// let page = letters.list(&LetterFilter::all().service("orders"), 0, 50, by).await?;
/// for letter in page.letters {
///     letters.replay(letter.number, by).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    namespace: String,
    stream: String,
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    publisher: Arc<Publisher>,
}

/// Some of what lies in the stream.
struct Batch {
    letters: VecDeque<Letter>,
    /// How many lie behind it.
    pending: u64,
}

impl DeadLetters {
    pub(crate) fn new(
        namespace: &str,
        link: &Arc<Link>,
        inbox: &Arc<Inbox>,
        publisher: &Arc<Publisher>,
    ) -> Result<Self, Error> {
        if !names::is_word(namespace) {
            return Err(Error::config(format!(
                "the namespace {namespace:?} has 1 to 64 letters, digits, `-` and `_` only"
            )));
        }
        let stream = format!("{}_DEAD", namespace.to_ascii_uppercase());
        let (link, inbox, publisher) = (Arc::clone(link), Arc::clone(inbox), Arc::clone(publisher));
        Ok(Self { namespace: namespace.to_owned(), stream, link, inbox, publisher })
    }

    async fn page(
        &self,
        filter: &LetterFilter,
        after: u64,
        limit: usize,
        by: Instant,
    ) -> Result<LetterPage, TransportError> {
        let limit = limit.clamp(1, LETTER_PAGE_MAX);
        let subject = self.subject(filter)?;
        let mut page = LetterPage { letters: Vec::new(), next: None };
        let (mut seen, mut scanned) = (after, 0);
        while scanned < SCAN_MAX {
            let mut batch = self.batch(&subject, seen + 1, by).await?;
            while let Some(letter) = batch.letters.pop_front() {
                (seen, scanned) = (letter.number, scanned + 1);
                if filter.matches(&letter) {
                    page.letters.push(letter);
                }
                if page.letters.len() == limit {
                    let more = batch.pending > 0 || !batch.letters.is_empty();
                    page.next = more.then_some(seen);
                    return Ok(page);
                }
            }
            if batch.pending == 0 {
                return Ok(page);
            }
        }
        page.next = Some(seen);
        Ok(page)
    }

    fn subject(&self, filter: &LetterFilter) -> Result<String, TransportError> {
        let bad = |what: &str, text: &str| {
            TransportError::new(TransportErrorKind::Refused, format!("{text:?} cannot be a {what}"))
        };
        let service = match &filter.service {
            Some(service) if names::is_word(service) => service,
            Some(service) => return Err(bad("service", service)),
            None => "*",
        };
        let name = match &filter.name {
            Some(name) if names::is_wire_name(name) => name,
            Some(name) => return Err(bad("wire name", name)),
            None => ">",
        };
        Ok(format!("{}.dead.{service}.{name}", self.namespace))
    }

    /// The letters of a subject from this number on. Many with one request, which the client's own API has not.
    async fn batch(&self, subject: &str, from: u64, by: Instant) -> Result<Batch, TransportError> {
        self.connected(by).await?;
        let client = self.link.client();
        let inbox = client.new_inbox();
        let late = |_| TransportError::from(TransportErrorKind::TimedOut);
        let mut answers = timeout_at(by, client.subscribe(inbox.clone()))
            .await
            .map_err(late)?
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        let request = json!({
            "seq": from, "next_by_subj": subject, "batch": BATCH_MAX, "max_bytes": BATCH_BYTES_MAX,
        });
        let sent = client.publish_with_reply(self.direct(), inbox, request.to_string().into());
        timeout_at(by, sent)
            .await
            .map_err(late)?
            .map_err(|error| TransportError::new(TransportErrorKind::Unavailable, error))?;
        let mut batch = Batch { letters: VecDeque::new(), pending: 0 };
        loop {
            let answer = timeout_at(by, answers.next()).await.map_err(late)?;
            let answer = answer.ok_or(TransportErrorKind::Disconnected)?;
            match answer.status {
                None => batch.letters.extend(self.read(&answer)),
                Some(StatusCode::NOT_FOUND) => return Ok(batch),
                Some(StatusCode::NO_RESPONDERS) => return Err(self.missing()),
                Some(status) if status.as_u16() == END_OF_BATCH => {
                    batch.pending = header(&answer, "Nats-Num-Pending").unwrap_or(0);
                    return Ok(batch);
                }
                Some(status) => {
                    let text = answer.description.as_deref().unwrap_or_default();
                    let text = format!("{} answered {}: {text}", self.stream, status.as_u16());
                    return Err(TransportError::new(TransportErrorKind::Refused, text));
                }
            }
        }
    }

    async fn connected(&self, by: Instant) -> Result<(), TransportError> {
        if self.link.connected_by(by).await { Ok(()) } else { Err(TransportErrorKind::Unavailable.into()) }
    }

    async fn one(&self, number: u64, by: Instant) -> Result<Option<Letter>, TransportError> {
        self.connected(by).await?;
        let request = Bytes::from(json!({ "seq": number }).to_string());
        let answer = match self.inbox.request(self.direct(), None, request, None, by).await {
            Err(error) if error.kind() == TransportErrorKind::NoHandler => return Err(self.missing()),
            answer => answer?,
        };
        Ok(if answer.status.is_some() { None } else { self.read(&answer) })
    }

    async fn send_back(&self, number: u64, by: Instant) -> Result<bool, TransportError> {
        let Some(letter) = self.one(number, by).await? else { return Ok(false) };
        self.hand_back(&letter, false, by).await?;
        self.delete(number, by).await?; // from here on it lies in one place only
        Ok(true)
    }

    /// One that holds its key goes to its handler all the same, which lets go what is parked behind it.
    async fn take_away(&self, number: u64, by: Instant) -> Result<bool, TransportError> {
        let Some(letter) = self.one(number, by).await? else { return Ok(false) };
        if letter.letter.holds {
            self.hand_back(&letter, true, by).await?;
        }
        self.delete(number, by).await
    }

    async fn hand_back(&self, letter: &Letter, skip: bool, by: Instant) -> Result<(), TransportError> {
        let (codec, payload) = letter
            .letter
            .message
            .payload
            .encoded(Codec::default())
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        let Address { subject, mut id } = self.address(letter);
        if skip {
            id.insert_str(0, "drop-");
        }
        let headers = letter::replay_headers(&letter.letter, codec, skip);
        self.publisher.publish(&subject, &id, headers, payload, by).await.map(drop)
    }

    fn address(&self, letter: &Letter) -> Address {
        let (namespace, service, name) = (&self.namespace, &letter.service, &letter.letter.message.name);
        Address {
            subject: format!("{namespace}.replay.{service}.{}.{name}", letter.letter.target()),
            // of the failure, not of the letter: two that tell of one failure are one replay
            id: format!("replay-{service}-{}", letter.letter.identity()),
        }
    }

    async fn delete(&self, number: u64, by: Instant) -> Result<bool, TransportError> {
        self.connected(by).await?;
        let (verb, body) =
            (format!("STREAM.MSG.DELETE.{}", self.stream), json!({"seq": number, "no_erase": true}));
        match timeout_at(by, self.inbox.api::<Value>(&verb, &body)).await {
            Err(_) => Err(TransportErrorKind::TimedOut.into()),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if api::NO_SUCH_MESSAGE.contains(&error.err_code()) => Ok(false),
            Ok(Err(error)) if error.err_code() == api::STREAM_NOT_FOUND => Err(self.missing()),
            Ok(Err(ApiError::Transport(error))) => Err(error),
            Ok(Err(answer)) => Err(TransportError::new(TransportErrorKind::Refused, answer.to_string())),
        }
    }

    /// `None`: it is no letter.
    fn read(&self, message: &Message) -> Option<Letter> {
        let headers = message.headers.as_ref()?;
        let subject = headers.get("Nats-Subject")?.as_str();
        let rest = subject.strip_prefix(&*self.namespace)?.strip_prefix(".dead.")?;
        let (service, name) = rest.split_once('.')?;
        let stored = async_nats::datetime::parse_rfc3339(headers.get("Nats-Time-Stamp")?.as_str()).ok()?;
        let since = Duration::from_nanos(u64::try_from(stored.unix_timestamp_nanos()).ok()?);
        let number = header(message, "Nats-Sequence")?;
        Some(letter::read(service, name, number, SystemTime::UNIX_EPOCH + since, message))
    }

    fn direct(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.stream)
    }

    fn missing(&self) -> TransportError {
        let text = format!("there is no stream {}: no node of this namespace has started yet", self.stream);
        TransportError::new(TransportErrorKind::Refused, text)
    }
}

/// Where a replay goes, and under which id.
struct Address {
    subject: String,
    id: String,
}

fn header(message: &Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

impl convoke_core::DeadLetters for DeadLetters {
    fn list<'a>(
        &'a self,
        filter: &'a LetterFilter,
        after: u64,
        limit: usize,
        by: Instant,
    ) -> BoxFuture<'a, Result<LetterPage, TransportError>> {
        Box::pin(self.page(filter, after, limit, by))
    }
    fn show(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<Option<Letter>, TransportError>> {
        Box::pin(self.one(number, by))
    }
    fn replay(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(self.send_back(number, by))
    }
    fn discard(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(self.take_away(number, by))
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("stream", &self.stream).finish_non_exhaustive()
    }
}
