//! One thing done to many.

use std::{fmt, num::NonZeroU32, pin::Pin, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{Exit, Failure};

/// Errors that are kept to be told; the others are counted.
const ERRORS_TOLD_MAX: usize = 10;

/// What became of them.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// What was done, or would be, such as `replayed`.
    pub what: &'static str,
    /// Nothing was done, only counted.
    pub dry_run: bool,
    /// How many it was to be done to.
    pub wanted: u64,
    /// How many it was done to.
    pub done: u64,
    /// How many somebody else took meanwhile, or never were.
    pub gone: u64,
    /// How many it could not be done to.
    pub failed: u64,
    /// Why, of the first few.
    pub errors: Vec<String>,
    /// It was stopped by Ctrl-C before the end.
    pub interrupted: bool,
}

/// Why it was not done.
pub(crate) enum Trouble {
    /// To this one, and it may be to others.
    This(String),
    /// To nobody from here on.
    All(Failure),
}

/// A long run: at its pace, with its bar, stopped between two.
pub(crate) struct Bulk {
    pub(crate) done: Done,
    pace: Option<Interval>,
    bar: ProgressBar,
}

impl Bulk {
    pub(crate) fn new(what: &'static str, dry_run: bool, rate: Option<NonZeroU32>) -> Self {
        let pace = rate.map(|rate| {
            let mut pace = interval(Duration::from_secs(1) / rate.get());
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        Self { done: Done { what, dry_run, ..Done::default() }, pace, bar: ProgressBar::hidden() }
    }

    /// So many are there. Shows the bar, on a terminal alone.
    pub(crate) fn wants(&mut self, count: u64) {
        self.done.wanted = count;
        if !self.done.dry_run {
            self.bar = bar(count);
        }
    }

    /// Waits for the next one's turn. `false` when `stopped` came first.
    pub(crate) async fn turn(&mut self, stopped: Pin<&mut impl Future>) -> bool {
        let pace = async {
            if let Some(pace) = &mut self.pace {
                pace.tick().await;
            }
        };
        tokio::select! {
            biased;
            _ = stopped => false,
            () = pace => true,
        }
    }

    /// Counts what became of one.
    pub(crate) fn count(
        &mut self,
        one: &dyn fmt::Display,
        did: Result<bool, Trouble>,
    ) -> Result<(), Failure> {
        match did {
            Ok(true) => self.done.done += 1,
            Ok(false) => self.done.gone += 1,
            Err(Trouble::This(why)) => {
                self.done.failed += 1;
                if self.done.errors.len() < ERRORS_TOLD_MAX {
                    self.done.errors.push(format!("{one}: {why}"));
                }
            }
            Err(Trouble::All(failure)) => {
                self.bar.finish_and_clear();
                let Done { what, done, wanted, .. } = &self.done;
                return Err(Failure::failed(format!("{failure} ({done} of {wanted} were {what} before)")));
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    pub(crate) fn interrupted(mut self) -> Done {
        self.done.interrupted = true;
        self.end()
    }

    pub(crate) fn end(self) -> Done {
        self.bar.finish_and_clear();
        self.done
    }
}

impl Done {
    /// How the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match (self.interrupted, self.failed) {
            (true, _) => Exit::Interrupted,
            (false, 0) => Exit::Fine,
            _ => Exit::Failed,
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
    fn errors_beyond_the_first_few_are_counted_alone() {
        let mut bulk = Bulk::new("dropped", false, None);
        for number in 0..100 {
            bulk.count(&number, Err(Trouble::This("no".to_owned()))).expect("it goes on");
        }
        let done = bulk.end();
        assert_eq!((done.failed, done.errors.len(), done.exit()), (100, ERRORS_TOLD_MAX, Exit::Failed));
    }

    #[test]
    fn what_was_done_is_told_in_one_line() {
        let done = Done { what: "replayed", wanted: 9, done: 6, gone: 1, failed: 2, ..Done::default() };
        assert_eq!(done.to_string(), "6 of 9 replayed, 1 were gone, 2 failed");
        let dry = Done { what: "dropped", dry_run: true, wanted: 3, ..Done::default() };
        assert_eq!(dry.to_string(), "3 would be dropped");
    }
}
