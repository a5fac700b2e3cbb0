use std::time::Duration;

use uuid::Uuid;

/// Numbers that follow from a seed and a text: the same for the same, whatever was drawn elsewhere.
pub(super) struct Dice(u64);

/// A seed nobody had.
pub(super) fn new_seed() -> u64 {
    let (_, random) = Uuid::now_v7().as_u64_pair();
    random & 0xff_ffff_ffff // short enough to be typed
}

impl Dice {
    /// For the `nth` event of a kind.
    pub(super) fn of(seed: u64, kind: &str, nth: u64) -> Self {
        let hash = kind.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut dice = Self(seed ^ hash.rotate_left(32) ^ nth.wrapping_mul(0xff51_afd7_ed55_8ccd));
        dice.next();
        dice
    }

    /// The next number, by splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether something of this chance happens.
    pub(super) fn falls(&mut self, chance: f64) -> bool {
        self.fraction() < chance
    }

    /// One of so many.
    pub(super) fn pick(&mut self, of: u64) -> u64 {
        self.next() % of
    }

    /// A time up to `most`.
    pub(super) fn time(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.fraction())
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).expect("32 bits are left");
        f64::from(bits) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_out_as_they_are_named_and_a_seed_repeats_them() {
        let draw = |seed: u64| (0..10_000).map(move |nth| Dice::of(seed, "publish", nth).falls(0.1));
        let hits = draw(7).filter(|hit| *hit).count();
        assert!((800..1200).contains(&hits), "{hits} of 10,000 at a tenth");
        assert!(draw(7).eq(draw(7)) && !draw(7).eq(draw(8)));
        assert!(!Dice::of(7, "x", 0).falls(0.0) && Dice::of(7, "x", 0).falls(1.0));
    }
}
