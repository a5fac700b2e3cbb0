//! One thing done to many letters.

use std::pin::pin;

use convoke_core::{DeadLetters as _, LETTER_PAGE_MAX, LetterFilter, TransportErrorKind};

use super::{Desk, Which, failed, soon};
use crate::{
    Failure,
    bulk::{Bulk, Done, Trouble},
    cli::BulkFlags,
};

/// Hands letters to whom gave them up.
///
/// # Errors
/// When the server does not answer. What was done until then is done.
pub async fn replay(desk: &Desk, which: &Which, flags: &BulkFlags) -> Result<Done, Failure> {
    run(desk, Act::Replay, which, flags).await
}

/// Takes letters away for good.
///
/// # Errors
/// When the server does not answer. What was done until then is done.
pub async fn discard(desk: &Desk, which: &Which, flags: &BulkFlags) -> Result<Done, Failure> {
    run(desk, Act::Discard, which, flags).await
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Replay,
    Discard,
}

/// Letters that are fetched at once.
const PAGE: usize = 100;

/// How far the letters went when the command started: what dies again behind it is not replayed again.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    count: u64,
    last: u64,
}

async fn run(desk: &Desk, act: Act, which: &Which, flags: &BulkFlags) -> Result<Done, Failure> {
    let mut stopped = pin!(tokio::signal::ctrl_c());
    let what = if matches!(act, Act::Replay) { "replayed" } else { "dropped" };
    let mut bulk = Bulk::new(what, flags.dry_run, flags.rate);
    let extent = match which {
        Which::Numbers(numbers) => {
            Extent { count: u64::try_from(numbers.len()).unwrap_or(u64::MAX), last: 0 }
        }
        Which::Matching(filter) => tokio::select! {
            extent = extent(desk, filter) => extent?,
            _ = &mut stopped => return Ok(bulk.interrupted()),
        },
    };
    bulk.wants(extent.count);
    if flags.dry_run {
        return Ok(bulk.end());
    }
    let mut pages = Pages { which: Some(which), after: 0, last: extent.last };
    while let Some(numbers) = pages.next(desk).await? {
        for number in numbers {
            // between two letters: what was begun is finished
            if !bulk.turn(stopped.as_mut()).await {
                return Ok(bulk.interrupted());
            }
            bulk.count(&number, one(desk, act, number).await)?;
        }
    }
    Ok(bulk.end())
}

async fn extent(desk: &Desk, filter: &LetterFilter) -> Result<Extent, Failure> {
    let (mut extent, mut after) = (Extent::default(), 0);
    loop {
        let page = desk.letters.list(filter, after, LETTER_PAGE_MAX, soon()).await.map_err(failed)?;
        extent.count += u64::try_from(page.letters.len()).unwrap_or(u64::MAX);
        extent.last = page.letters.last().map_or(extent.last, |letter| letter.number);
        match page.next {
            Some(next) => after = next,
            None => return Ok(extent),
        }
    }
}

async fn one(desk: &Desk, act: Act, number: u64) -> Result<bool, Trouble> {
    let did = match act {
        Act::Replay => desk.letters.replay(number, soon()).await,
        Act::Discard => desk.letters.discard(number, soon()).await,
    };
    did.map_err(|error| match error.kind() {
        TransportErrorKind::Refused | TransportErrorKind::TooLarge => Trouble::This(error.to_string()),
        _ => Trouble::All(failed(error)),
    })
}

/// The numbers, page by page: a letter that is taken away does not move the others.
struct Pages<'a> {
    which: Option<&'a Which>,
    after: u64,
    last: u64,
}

impl Pages<'_> {
    async fn next(&mut self, desk: &Desk) -> Result<Option<Vec<u64>>, Failure> {
        match self.which {
            None => Ok(None),
            Some(Which::Numbers(numbers)) => {
                self.which = None;
                Ok(Some(numbers.clone()))
            }
            Some(Which::Matching(filter)) => {
                let page = desk.letters.list(filter, self.after, PAGE, soon()).await.map_err(failed)?;
                match page.next {
                    Some(next) if next < self.last => self.after = next,
                    _ => self.which = None,
                }
                let numbers = page.letters.iter().map(|letter| letter.number);
                Ok(Some(numbers.filter(|number| *number <= self.last).collect()))
            }
        }
    }
}
