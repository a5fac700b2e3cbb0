//! One thing done to many letters.

use std::{fmt, pin::pin, time::Duration};

use convoke_core::{DeadLetters as _, LETTER_PAGE_MAX, LetterFilter, TransportErrorKind};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Desk, Which, failed, soon};
use crate::{Failure, cli::BulkFlags};

/// Errors that are kept to be told; the others are counted.
const ERRORS_TOLD_MAX: usize = 10;

/// What became of the letters.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// What was done, or would be: `replayed` or `dropped`.
    pub what: &'static str,
    /// Nothing was done, only counted.
    pub dry_run: bool,
    /// Letters it was to be done to.
    pub wanted: u64,
    /// Letters it was done to.
    pub done: u64,
    /// Letters that somebody else took meanwhile, or that never were.
    pub gone: u64,
    /// Letters it could not be done to.
    pub failed: u64,
    /// Why, of the first few.
    pub errors: Vec<String>,
    /// It was stopped by Ctrl-C before the end.
    pub interrupted: bool,
}

/// Hands letters to whom gave them up.
///
/// # Errors
/// When the server does not answer. What was done until then is done.
pub async fn replay(desk: &Desk, which: &Which, flags: &BulkFlags) -> Result<Done, Failure> {
    Bulk::new(desk, "replayed", flags).run(which).await
}

/// Takes letters away for good.
///
/// # Errors
/// When the server does not answer. What was done until then is done.
pub async fn discard(desk: &Desk, which: &Which, flags: &BulkFlags) -> Result<Done, Failure> {
    Bulk::new(desk, "dropped", flags).run(which).await
}

struct Bulk<'a> {
    desk: &'a Desk,
    done: Done,
    pace: Option<Interval>,
    bar: ProgressBar,
}

/// How far the letters went when the command started: what dies again behind it is not replayed again.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    count: u64,
    last: u64,
}

impl<'a> Bulk<'a> {
    fn new(desk: &'a Desk, what: &'static str, flags: &BulkFlags) -> Self {
        let done = Done { what, dry_run: flags.dry_run, ..Done::default() };
        let pace = flags.rate.map(|rate| {
            let mut pace = interval(Duration::from_secs(1) / rate.get());
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        Self { desk, done, pace, bar: ProgressBar::hidden() }
    }

    async fn run(mut self, which: &Which) -> Result<Done, Failure> {
        let mut stopped = pin!(tokio::signal::ctrl_c());
        let extent = match which {
            Which::Numbers(numbers) => {
                Extent { count: u64::try_from(numbers.len()).unwrap_or(u64::MAX), last: 0 }
            }
            Which::Matching(filter) => tokio::select! {
                extent = self.extent(filter) => extent?,
                _ = &mut stopped => return Ok(self.interrupted()),
            },
        };
        self.done.wanted = extent.count;
        if self.done.dry_run {
            return Ok(self.done);
        }
        self.bar = bar(extent.count); // it shows itself on a terminal alone
        let mut pages = Pages::new(which, extent.last);
        while let Some(numbers) = pages.next(self.desk).await? {
            for number in numbers {
                // between two letters: what was begun is finished
                let pace = async {
                    if let Some(pace) = &mut self.pace {
                        pace.tick().await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = &mut stopped => return Ok(self.interrupted()),
                    () = pace => {}
                }
                self.one(number).await?;
            }
        }
        self.bar.finish_and_clear();
        Ok(self.done)
    }

    fn interrupted(mut self) -> Done {
        self.bar.finish_and_clear();
        self.done.interrupted = true;
        self.done
    }

    async fn extent(&self, filter: &LetterFilter) -> Result<Extent, Failure> {
        let (mut extent, mut after) = (Extent::default(), 0);
        loop {
            let page =
                self.desk.letters.list(filter, after, LETTER_PAGE_MAX, soon()).await.map_err(failed)?;
            extent.count += u64::try_from(page.letters.len()).unwrap_or(u64::MAX);
            extent.last = page.letters.last().map_or(extent.last, |letter| letter.number);
            match page.next {
                Some(next) => after = next,
                None => return Ok(extent),
            }
        }
    }

    async fn one(&mut self, number: u64) -> Result<(), Failure> {
        let letters = &self.desk.letters;
        let did = match self.done.what {
            "replayed" => letters.replay(number, soon()).await,
            _ => letters.discard(number, soon()).await,
        };
        match did {
            Ok(true) => self.done.done += 1,
            Ok(false) => self.done.gone += 1,
            Err(error)
                if matches!(error.kind(), TransportErrorKind::Refused | TransportErrorKind::TooLarge) =>
            {
                self.done.failed += 1;
                if self.done.errors.len() < ERRORS_TOLD_MAX {
                    self.done.errors.push(format!("{number}: {error}"));
                }
            }
            Err(error) => {
                self.bar.finish_and_clear();
                let Done { what, done, wanted, .. } = &self.done;
                return Err(Failure::failed(format!(
                    "{} ({done} of {wanted} were {what} before)",
                    failed(error)
                )));
            }
        }
        self.bar.inc(1);
        Ok(())
    }
}

/// The numbers, page by page: a letter that is taken away does not move the others.
struct Pages<'a> {
    which: Option<&'a Which>,
    after: u64,
    last: u64,
}

impl<'a> Pages<'a> {
    fn new(which: &'a Which, last: u64) -> Self {
        Self { which: Some(which), after: 0, last }
    }

    async fn next(&mut self, desk: &Desk) -> Result<Option<Vec<u64>>, Failure> {
        match self.which {
            None => Ok(None),
            Some(Which::Numbers(numbers)) => {
                self.which = None;
                Ok(Some(numbers.clone()))
            }
            Some(Which::Matching(filter)) => {
                let page =
                    desk.letters.list(filter, self.after, LETTER_PAGE_MAX, soon()).await.map_err(failed)?;
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

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(length).with_style(style.expect("a template that a test shows"))
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, done, gone, failed, .. } = self;
        if self.dry_run {
            return write!(f, "{wanted} would be {what}");
        }
        write!(f, "{done} of {wanted} {what}")?;
        if *gone > 0 {
            write!(f, ", {gone} were gone")?;
        }
        if *failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        if self.interrupted {
            f.write_str("; interrupted, the rest is untouched")?;
        }
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_a_template_that_can_be_read() {
        assert_eq!(bar(7).length(), Some(7));
    }

    #[test]
    fn what_was_done_is_told_in_one_line() {
        let done = Done { what: "replayed", wanted: 9, done: 6, gone: 1, failed: 2, ..Done::default() };
        assert_eq!(done.to_string(), "6 of 9 replayed, 1 were gone, 2 failed");
        let dry = Done { what: "dropped", dry_run: true, wanted: 3, ..Done::default() };
        assert_eq!(dry.to_string(), "3 would be dropped");
    }
}
