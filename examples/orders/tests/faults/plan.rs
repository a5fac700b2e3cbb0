use std::{env, time::Duration};

/// How much a run must have seen to count, and how hard it works for that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Orders that were accepted.
    pub(crate) accepted_min: usize,
    /// Faults, all kinds together.
    pub(crate) faults_min: usize,
    /// Callers at once.
    pub(crate) callers: usize,
    /// A caller's pause after each order.
    pub(crate) pause: Duration,
    /// Whether links are lost for long enough now and then to be given up.
    pub(crate) long: bool,
    /// For mixed runs.
    pub(crate) seed: u64,
    /// How long events may be on their way when all is whole again.
    pub(crate) drained_within: Duration,
}

impl Plan {
    /// The short form, or the long one.
    pub(crate) fn from_env(kinds: usize) -> Self {
        let soak = convoke_testing::is_soak();
        let seed = env::var("CONVOKE_FAULT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
        let (accepted_min, faults_min) = if soak { (5000, 20.max(3 * kinds)) } else { (300, kinds.max(2)) };
        let pause = Duration::from_millis(if soak { 200 } else { 100 });
        let drained_within = Duration::from_secs(45);
        Self { accepted_min, faults_min, callers: 12, pause, long: soak, seed, drained_within }
    }

    /// As little as shows what was planted.
    pub(crate) fn short() -> Self {
        Self {
            accepted_min: 150,
            faults_min: 2,
            callers: 24,
            pause: Duration::from_millis(20),
            long: false,
            seed: 1,
            drained_within: Duration::from_secs(8),
        }
    }
}
