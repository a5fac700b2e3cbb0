use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A duration between half of this one and all of it.
pub(crate) fn shortened(duration: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8); // keyed anew each time
    let part = u32::try_from(random % 1024).expect("less than 1024");
    duration / 2 + (duration / 2) * part / 1024
}
