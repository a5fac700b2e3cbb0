//! Everything random in a simulation, from one seed.

use std::{ops::Range, time::Duration};

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use uuid::Uuid;

/// Draws of one part of a simulation. Parts do not disturb each other's draws.
#[derive(Debug)]
pub(super) struct Dice(SmallRng);

impl Dice {
    /// Those of one part, such as "network", of the simulation with this seed.
    pub(super) fn of(seed: u64, part: &str) -> Self {
        let part = part.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(SmallRng::seed_from_u64(seed ^ part.rotate_left(17)))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn name(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.number(), self.number())
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub(super) fn falls(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }

    /// From `-most` to `most`.
    pub(super) fn around(&mut self, most: i64) -> i64 {
        self.0.random_range(-most..=most)
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        if among.is_empty() { None } else { Some(among[self.below(among.len())]) }
    }
}
