//! What runs on one node at a time, while who leads changes again and again.

use std::time::Duration;

use convoke_testing::{eventually_within, is_soak};
use tokio::time::sleep;

use crate::fleet::{Fleet, PATIENCE, TIMING};

/// How leadership changes.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// The leader's process is killed.
    Kill,
    /// The others do not hear the leader, which hears from them of a newer term.
    Term,
    /// The leader hands over.
    Transfer,
    /// The leader and the others do not hear each other, for longer than it leads.
    Partition,
}

const CHANGES: [Change; 4] = [Change::Kill, Change::Term, Change::Transfer, Change::Partition];

impl Change {
    /// Returns when the body of a later leader has begun.
    async fn make(self, fleet: &mut Fleet) {
        let (leader, term) = fleet.leader().await;
        match self {
            Self::Kill => fleet.kill(leader),
            Self::Term => fleet.others(leader).into_iter().for_each(|other| fleet.board.block(leader, other)),
            Self::Transfer => fleet.hand_over(leader, term).await,
            Self::Partition => fleet.board.isolate(leader),
        }
        fleet.next_leader(term).await;
        if let Self::Partition = self {
            // Both believe what they believe, side by side.
            sleep(Duration::from_millis(200)).await;
        }
        fleet.board.heal();
        fleet.run(leader);
        let followed = eventually_within(PATIENCE, "the former leader is back", async || {
            fleet.standing(leader).await.filter(|it| it.term > term && it.down.is_none())
        });
        followed.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_bodies_run_at_one_time_however_often_and_by_whatever_the_leader_changes() {
    let wanted = if is_soak() { 200 } else { 12 };
    let mut fleet = Fleet::start(TIMING).await;
    let mut made = 0;
    for change in CHANGES.into_iter().cycle() {
        if made >= wanted && fleet.seen().terms().changes() >= wanted {
            break;
        }
        change.make(&mut fleet).await;
        made += 1;
    }
    fleet.kill_all();
    let (terms, (writes, fenced)) = (fleet.seen().terms(), fleet.seen().assert_fenced());
    let (runs, changes) = (terms.runs().len(), terms.changes());
    println!(
        "{changes} changes, {made} of them asked for: {runs} runs, {writes} fenced writes, {fenced} writers were fenced off"
    );
    terms.check().unwrap_or_else(|overlap| panic!("{overlap}"));
}
