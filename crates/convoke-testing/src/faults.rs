//! Faults between a node and everything outside of it, drawn from a seed.

mod deliveries;
mod dice;
mod fate;
mod lanes;
mod plan;

use std::{env, time::Duration};

pub(crate) use deliveries::Deliveries;
pub(crate) use fate::Broken;
pub(crate) use plan::Plan;

use crate::outside::CrashPoint;

/// The environment variable that repeats a run: the seed it printed.
pub const SEED_VARIABLE: &str = "CONVOKE_SEED";

/// The faults a run makes at most, unless told otherwise: behind them it comes to rest.
pub const FAULTS_MAX: usize = 1000;

/// What goes wrong between an app and everything outside of it, and how often. For
/// [`TestApp::of`](crate::TestApp::of).
///
/// Chances are from 0 to 1. Whether the n-th call of a kind, or the n-th delivery of a message's name, meets a fault
/// follows from the seed alone, so a run can be repeated: the seed is printed, and `CONVOKE_SEED=.. cargo test ..` takes
/// it. Ids and the jitter of pauses are new in each run.
///
/// ```
/// # use std::time::Duration;
/// use convoke_testing::{Faults, outside::CrashPoint};
///
/// let faults = Faults::seeded()
///     .duplicate(0.1)
///     .drop(0.05)
///     .delay(0.2, Duration::from_millis(300))
///     .reorder(0.2)
///     .crash_at(CrashPoint::after(12));
/// # let _ = faults;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    seed: u64,
    duplicate: f64,
    drop: f64,
    delay: f64,
    delay_max: Duration,
    reorder: f64,
    reorder_within_keys: bool,
    crash: f64,
    crash_points: Vec<CrashPoint>,
    at_most: usize,
}

impl Faults {
    /// None yet, from the seed in the environment variable `CONVOKE_SEED`, else from a new one.
    ///
    /// # Panics
    /// When the variable holds no number.
    #[must_use]
    pub fn seeded() -> Self {
        let seed = match env::var(SEED_VARIABLE) {
            Ok(text) => {
                text.trim().parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is a number, not {text:?}"))
            }
            Err(_) => dice::new_seed(),
        };
        Self::from_seed(seed)
    }

    /// None yet, from this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            duplicate: 0.0,
            drop: 0.0,
            delay: 0.0,
            delay_max: Duration::ZERO,
            reorder: 0.0,
            reorder_within_keys: false,
            crash: 0.0,
            crash_points: Vec::new(),
            at_most: FAULTS_MAX,
        }
    }

    /// Delivers events and enqueued commands twice: at once, or again when they are settled.
    #[must_use]
    #[track_caller]
    pub fn duplicate(mut self, chance: f64) -> Self {
        self.duplicate = checked(chance);
        self
    }

    /// Drops what a node sends, or the answer to it: to the other nodes, to the broker, to the stores. The sender sees
    /// what it would see then: nothing until its deadline, or a broken connection.
    #[must_use]
    #[track_caller]
    pub fn drop(mut self, chance: f64) -> Self {
        self.drop = checked(chance);
        self
    }

    /// Delays what a node sends, and what is delivered to it, by up to `most`.
    #[must_use]
    #[track_caller]
    pub fn delay(mut self, chance: f64, most: Duration) -> Self {
        self.delay = checked(chance);
        self.delay_max = most;
        self
    }

    /// Holds back deliveries of events and enqueued commands while others overtake. Messages of one key keep their
    /// order, and so do those of one of the 64 lanes, and all that a view sees: that is what a bus promises.
    #[must_use]
    #[track_caller]
    pub fn reorder(mut self, chance: f64) -> Self {
        self.reorder = checked(chance);
        self
    }

    /// Lets messages of one key overtake each other, too, when they are held back: more than a bus may do.
    #[must_use]
    pub fn reorder_within_keys(mut self) -> Self {
        self.reorder_within_keys = true;
        self
    }

    /// Lets the node die at one of its calls outside, and start again with the same bus and stores. The first point is
    /// for its first life, the next one for its second, and so on.
    #[must_use]
    pub fn crash_at(mut self, point: CrashPoint) -> Self {
        self.crash_points.push(point);
        self
    }

    /// Lets the node die at any of its calls outside, before or after it took effect.
    #[must_use]
    #[track_caller]
    pub fn crash(mut self, chance: f64) -> Self {
        self.crash = checked(chance);
        self
    }

    /// Makes no more faults than this. Default: [`FAULTS_MAX`].
    #[must_use]
    pub fn at_most(mut self, faults: usize) -> Self {
        self.at_most = faults;
        self
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

#[track_caller]
fn checked(chance: f64) -> f64 {
    assert!((0.0..=1.0).contains(&chance), "a chance is from 0 to 1, not {chance}");
    chance
}
