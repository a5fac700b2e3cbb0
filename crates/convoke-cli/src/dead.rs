//! Dead letters: what no handler could handle, to look at, to replay and to drop.
mod bulk;
mod shown;

use std::time::Duration;

use convoke_core::{DeadLetters as _, LETTER_PAGE_MAX, LetterFilter, TransportError, TransportErrorKind};
use convoke_nats::{DeadLetters, Transport};
use tokio::time::Instant;

pub use bulk::{discard, replay};
pub use shown::{Shown, ShownPage};

use crate::{
    Failure,
    cli::{DeadFilter, ListFlags},
    settings::Settings,
};

/// How long one question may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long the server may take to let us in.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// A connection to the dead letters of a namespace.
#[derive(Debug)]
pub struct Desk {
    letters: DeadLetters,
    /// Holds the connection.
    _transport: Transport,
}

impl Desk {
    /// Connects.
    ///
    /// # Errors
    /// When the server is away, does not let us in, or the settings cannot work.
    pub async fn open(settings: &Settings) -> Result<Self, Failure> {
        let transport = Transport::connect_with(settings.nats.clone()).await?;
        transport.reach(CONNECT_WAIT).await?;
        let letters = transport.dead_letters_of(&settings.namespace)?;
        Ok(Self { letters, _transport: transport })
    }

    /// One page of letters, oldest first.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn list(&self, filter: &DeadFilter, page: &ListFlags) -> Result<ShownPage, Failure> {
        let filter = filter.letters();
        let limit = page.limit.clamp(1, LETTER_PAGE_MAX);
        let (mut letters, mut after) = (Vec::new(), page.after);
        // a page may come back short when the look took long
        loop {
            let found =
                self.letters.list(&filter, after, limit - letters.len(), soon()).await.map_err(failed)?;
            letters.extend(found.letters.iter().map(Shown::without_payload));
            match found.next {
                Some(next) if letters.len() < limit => after = next,
                next => return Ok(ShownPage { letters, next }),
            }
        }
    }

    /// One letter, with all that is kept.
    ///
    /// # Errors
    /// When there is none of this number, or the server does not say.
    pub async fn show(&self, number: u64) -> Result<Shown, Failure> {
        let letter = self.letters.show(number, soon()).await.map_err(failed)?;
        let none = || {
            Failure::failed(format!(
                "there is no dead letter {number}: it was replayed, dropped, or is too old"
            ))
        };
        letter.as_ref().map(Shown::with_payload).ok_or_else(none)
    }
}

/// Which letters a bulk command is about.
#[derive(Debug, Clone)]
pub enum Which {
    /// These.
    Numbers(Vec<u64>),
    /// Those that match, as they lie there when the command starts.
    Matching(LetterFilter),
}

fn soon() -> Instant {
    Instant::now() + ANSWER_WAIT
}

fn failed(error: TransportError) -> Failure {
    Failure::failed(match error.kind() {
        TransportErrorKind::TimedOut => {
            format!("NATS did not answer within {} s: look at `convoke doctor`", ANSWER_WAIT.as_secs())
        }
        _ => error.to_string(),
    })
}
