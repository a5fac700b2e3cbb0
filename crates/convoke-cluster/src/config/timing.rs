use std::time::Duration;

/// How fast a cluster notices that its leader is gone, and how much it bears before it thinks so.
///
/// A rule for other networks: `election.0` is at least ten times the round trip, ten times the slow (99th percentile)
/// sync of the disk, and three times the heartbeat. The lease of a leader is as long as `election.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How often a leader is heard.
    pub heartbeat: Duration,
    /// Without a leader, a node waits for the lease (the longer of the two) and then a random time between the two
    /// before it stands for election.
    pub election: (Duration, Duration),
}

impl Timing {
    /// 80 ms and 250 to 400 ms: a new leader after about 0.65 s and the votes.
    pub const DEFAULT: Self = Self::of_millis(80, 250, 400);
    /// 50 ms and 150 to 300 ms: after about 0.45 s and the votes, for machines that are never busy on a network that is
    /// never slow.
    pub const LAN_FAST: Self = Self::of_millis(50, 150, 300);
    /// 150 ms and 500 to 1000 ms: after about 1.5 s and the votes, for members in several places or on shared hosts.
    pub const WAN: Self = Self::of_millis(150, 500, 1000);

    /// Times of your own.
    #[must_use]
    pub const fn new(heartbeat: Duration, election: (Duration, Duration)) -> Self {
        Self { heartbeat, election }
    }

    const fn of_millis(heartbeat: u64, min: u64, max: u64) -> Self {
        Self::new(Duration::from_millis(heartbeat), (Duration::from_millis(min), Duration::from_millis(max)))
    }

    /// One of `default`, `lan-fast` and `wan`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::DEFAULT),
            "lan-fast" => Some(Self::LAN_FAST),
            "wan" => Some(Self::WAN),
            _ => None,
        }
    }

    /// How long a leader may act on what a majority last told it.
    pub(crate) fn lease(&self) -> Duration {
        self.election.1
    }

    pub(super) fn problems(&self, problems: &mut Vec<String>) {
        let (min, max) = self.election;
        let mut check = |ok: bool, text: String| {
            if !ok {
                problems.push(text);
            }
        };
        let shortest = Duration::from_millis(10);
        check(
            self.heartbeat >= shortest,
            format!("`heartbeat_interval` is {:?}: it must be at least {shortest:?}", self.heartbeat),
        );
        check(
            min >= self.heartbeat * 2,
            format!(
                "`election_timeout` begins at {min:?}: it must be at least twice `heartbeat_interval`, which is {:?}",
                self.heartbeat
            ),
        );
        check(
            max >= min + min / 4,
            format!(
                "`election_timeout` ends at {max:?}: make it at least a quarter longer than its beginning, {min:?}, or \
                 members keep standing against each other"
            ),
        );
        let longest = Duration::from_mins(1);
        check(max <= longest, format!("`election_timeout` ends at {max:?}: it must be at most {longest:?}"));
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}
