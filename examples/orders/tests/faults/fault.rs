use std::time::Duration;

use convoke_testing::{eventually, proxy::TcpProxy};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, LINKED};

/// How long what was killed stays away: callers meet its absence.
const AWAY: Duration = Duration::from_millis(700);
/// Longer than the lease of a claim, which is 6 s.
const STOPPED: Duration = Duration::from_millis(7500);
/// How long a link is lost.
const LOST: Duration = Duration::from_secs(4);
/// Long enough for NATS clients and servers to give a connection up.
const LOST_LONG: Duration = Duration::from_secs(18);
/// How long a node that was told to stop may take.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Something that breaks, and is whole again in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a new start.
    KillNode,
    /// SIGSTOP for longer than a lease, then SIGCONT.
    StopNode,
    /// SIGTERM, and a new start.
    TermNode,
    KillNats,
    KillRedis,
    /// Killed, and what was not synced is gone.
    FailNatsPower,
    FailRedisPower,
    /// One node's connections stay open and carry nothing.
    LoseNats,
    LoseRedis,
    /// What one node asks arrives, and the answers do not.
    LoseNatsAnswers,
    LoseRedisAnswers,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillNode => "node killed",
            Self::StopNode => "node stopped",
            Self::TermNode => "node replaced",
            Self::KillNats => "nats killed",
            Self::KillRedis => "redis killed",
            Self::FailNatsPower => "power of nats failed",
            Self::FailRedisPower => "power of redis failed",
            Self::LoseNats => "link to nats lost",
            Self::LoseRedis => "link to redis lost",
            Self::LoseNatsAnswers => "answers of nats lost",
            Self::LoseRedisAnswers => "answers of redis lost",
        }
    }

    /// Whether the servers need disks of their own.
    pub(crate) fn is_of_power(self) -> bool {
        matches!(self, Self::FailNatsPower | Self::FailRedisPower)
    }

    /// Breaks it and mends it, and tells when that was; `turn` chooses the node. Panics when it could not be broken.
    pub(crate) async fn inject(self, fleet: &Fleet, turn: usize, long: bool) -> Instant {
        let lost = if long && turn % 5 == 4 { LOST_LONG } else { LOST };
        match self {
            Self::KillNode => kill(fleet, turn % 3).await,
            Self::StopNode => stop(fleet, turn % 3).await,
            Self::TermNode => replace(fleet, turn % 3).await,
            Self::KillNats | Self::FailNatsPower => {
                fleet.nats.kill();
                if self == Self::FailNatsPower {
                    fleet.disks().nats.fail();
                }
                sleep(AWAY).await;
                let mended = Instant::now();
                fleet.nats.restart().await.expect("nats comes back");
                mended
            }
            Self::KillRedis | Self::FailRedisPower => {
                let redis = fleet.redis.as_ref().expect("there is one");
                redis.kill();
                if self == Self::FailRedisPower {
                    fleet.disks().redis.fail();
                }
                sleep(AWAY).await;
                let mended = Instant::now();
                redis.restart().await.expect("redis comes back");
                mended
            }
            Self::LoseNats => lose(&fleet.nats_link, TcpProxy::blackhole, lost).await,
            Self::LoseNatsAnswers => lose(&fleet.nats_link, TcpProxy::drop_replies, lost).await,
            Self::LoseRedis => lose(redis_link(fleet), TcpProxy::blackhole, lost).await,
            Self::LoseRedisAnswers => lose(redis_link(fleet), TcpProxy::drop_replies, lost).await,
        }
    }
}

fn redis_link(fleet: &Fleet) -> &TcpProxy {
    fleet.redis_link.as_ref().expect("there is one")
}

async fn lose(link: &TcpProxy, how: impl FnOnce(&TcpProxy), lost: Duration) -> Instant {
    assert!(link.connections() > 0, "{} uses the link", crate::fleet::NODES[LINKED]);
    how(link);
    sleep(lost).await;
    link.heal();
    Instant::now()
}

async fn kill(fleet: &Fleet, index: usize) -> Instant {
    let mut node = fleet.nodes[index].lock().await;
    node.kill();
    sleep(AWAY).await;
    let mended = Instant::now();
    fleet.start_again(index, &mut node).await;
    mended
}

async fn stop(fleet: &Fleet, index: usize) -> Instant {
    let node = fleet.nodes[index].lock().await;
    node.signal(Signal::STOP);
    // The signal is sent at once, and works a little later.
    eventually("the node has stopped", async || !fleet.is_ready(index).await).await;
    sleep(STOPPED).await;
    node.signal(Signal::CONT);
    Instant::now()
}

async fn replace(fleet: &Fleet, index: usize) -> Instant {
    let mut node = fleet.nodes[index].lock().await;
    node.signal(Signal::TERM);
    let status = node.ended(ENDS_WITHIN).await;
    assert!(status.success(), "{status}: {:?}", node.lines());
    let mended = Instant::now();
    fleet.start_again(index, &mut node).await;
    mended
}
