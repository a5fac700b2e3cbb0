//! Nodes that stand still and go on as if no time had passed.

use std::time::Duration;

use convoke_cluster::Timing;
use convoke_testing::{eventually_within, is_soak};
use tokio::time::{sleep, timeout};

use crate::{
    fleet::{Fleet, PATIENCE, TIMING},
    line::Line,
    wire::{Ask, Said},
};

/// Nobody is elected because a machine is busy.
const SLOW: Timing =
    Timing::new(Duration::from_millis(200), (Duration::from_millis(2000), Duration::from_millis(2500)));
const WITHIN: Duration = Duration::from_secs(5);

fn rounds(short: usize) -> usize {
    if is_soak() { 20 } else { short }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_stood_still_for_several_election_times_causes_no_election() {
    let fleet = Fleet::start(SLOW).await;
    let (leader, term) = fleet.leader().await;
    let followers = fleet.others(leader);
    for round in 0..rounds(2) {
        let follower = followers[round % followers.len()];
        fleet.freeze(follower);
        sleep(SLOW.election.1 * 3).await;
        fleet.thaw(follower);
        let answers = fleet.ask(follower, Ask::Read { key: "key".to_owned(), lease: false }, PATIENCE).await;
        assert_eq!(answers, Said::Nothing, "it is back");
        // What it may have begun when it woke up comes to something within this time, or never.
        sleep(SLOW.election.1 * 2).await;
        assert_eq!(fleet.leader().await, (leader, term));
        for id in fleet.ids() {
            let standing = fleet.standing(id).await.expect("it answers");
            assert_eq!(standing.term, term, "node {id} knows of another term");
        }
    }
    println!("term {term} outlived {} thaws", rounds(2));
}

/// What a leader is asked while it stands still, and finds when it goes on: each on a connection of its own.
struct Waiting {
    lease: Line,
    linearizable: Line,
    swap: Line,
    write: Line,
}

/// What it answers.
struct Answers {
    reads: [Said; 2],
    swap: Said,
    write: Said,
}

impl Waiting {
    async fn connected(fleet: &Fleet, node: u64) -> Self {
        let line = async || {
            let mut line = fleet.line(node);
            line.connect().await.expect("it listens");
            line
        };
        Self { lease: line().await, linearizable: line().await, swap: line().await, write: line().await }
    }

    /// Writes the questions where the node will find them.
    async fn ask(&mut self, key: &str, version: u64) {
        let read = |lease| Ask::Read { key: key.to_owned(), lease };
        let swap = Ask::Swap { key: key.to_owned(), version: Some(version), to: LATE };
        let write = Ask::Write { key: late(key), value: LATE };
        for (line, ask) in [
            (&mut self.lease, read(true)),
            (&mut self.linearizable, read(false)),
            (&mut self.swap, swap),
            (&mut self.write, write),
        ] {
            line.say(ask, WITHIN).await.expect("there is room for a line");
        }
    }

    async fn answers(mut self) -> Answers {
        let hear = async |line: &mut Line| {
            let heard = timeout(PATIENCE, line.hear()).await.expect("it answers by its deadline");
            heard.expect("it answers")
        };
        Answers {
            reads: [hear(&mut self.lease).await, hear(&mut self.linearizable).await],
            swap: hear(&mut self.swap).await,
            write: hear(&mut self.write).await,
        }
    }
}

const OLD: u64 = 1;
const NEW: u64 = 2;
const LATE: u64 = 3;

fn late(key: &str) -> String {
    format!("{key}-late")
}

/// Writes until it is written: leaders may change meanwhile.
async fn write(fleet: &Fleet, node: u64, key: &str, value: u64) {
    let written = eventually_within(PATIENCE, "it is written", async || {
        fleet.ask(node, Ask::Write { key: key.to_owned(), value }, WITHIN).await == Said::Done
    });
    written.await;
}

async fn read(fleet: &Fleet, node: u64, key: &str) -> Said {
    let read = eventually_within(PATIENCE, "it is read", async || {
        let said = fleet.ask(node, Ask::Read { key: key.to_owned(), lease: false }, WITHIN).await;
        if matches!(said, Said::Value { .. } | Said::Nothing) { Ok(said) } else { Err(said) }
    });
    read.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_for_longer_than_its_lease_answers_nothing_of_what_it_knew() {
    let fleet = Fleet::start(TIMING).await;
    for round in 0..rounds(4) {
        let key = format!("round-{round}");
        let (leader, term) = fleet.leader().await;
        write(&fleet, leader, &key, OLD).await;
        let Said::Value { value: OLD, version } = read(&fleet, leader, &key).await else {
            panic!("it is there")
        };
        let mut waiting = Waiting::connected(&fleet, leader).await;
        fleet.freeze(leader);
        waiting.ask(&key, version).await;
        let next = fleet.next_leader(term).await;
        write(&fleet, next, &key, NEW).await;
        fleet.thaw(leader);
        let answers = waiting.answers().await;
        for said in &answers.reads {
            let fits = matches!(said, Said::Value { value: NEW, .. } | Said::Refused(_) | Said::Unknown(_));
            assert!(fits, "it serves what it knew: {said:?}");
        }
        // A node that follows may hand a write to the leader: then it is there, for everybody.
        assert_ne!(answers.swap, Said::Done, "what it compared with was written over");
        let found = read(&fleet, next, &late(&key)).await;
        match answers.write {
            Said::Done => {
                assert!(matches!(found, Said::Value { value: LATE, .. }), "acknowledged, and {found:?}")
            }
            Said::Refused(why) => assert_eq!(found, Said::Nothing, "refused: {why}"),
            _ => {}
        }
        println!("round {round}: {:?}, {:?}", answers.reads, answers.swap);
        assert!(matches!(read(&fleet, leader, &key).await, Said::Value { value: NEW, .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_that_stood_still_left_running_writes_nothing_behind_a_newer_term() {
    let fleet = Fleet::start(TIMING).await;
    let mut terms = Vec::new();
    for _ in 0..rounds(4) {
        let (leader, term) = fleet.leader().await;
        // It is in the midst of writing when it is stopped.
        eventually_within(PATIENCE, "it writes", async || fleet.seen().has_written(term)).await;
        fleet.freeze(leader);
        fleet.next_leader(term).await;
        let newer =
            eventually_within(PATIENCE, "the next one writes", async || fleet.seen().has_written(term + 1));
        newer.await;
        fleet.thaw(leader);
        let refused = eventually_within(PATIENCE, "the first one is refused", async || {
            let seen = fleet.seen();
            seen.assert_fenced();
            seen.is_fenced(term)
        });
        refused.await;
        terms.push(term);
    }
    let (writes, fenced) = fleet.seen().assert_fenced();
    println!("leaders of {terms:?} stood still: {writes} fenced writes, {fenced} writers were fenced off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_holder_stood_still_for_longer_than_its_lease_is_not_held_any_more() {
    let fleet = Fleet::start(TIMING).await;
    for round in 0..rounds(3) {
        let acquire = Ask::Acquire { lock: format!("round-{round}"), ttl_ms: 1000 };
        let holder = fleet.leader().await.0;
        let mut line = fleet.line(holder);
        let acquired = line.ask(acquire.clone(), WITHIN).await;
        let Said::Granted { fence } = acquired else { panic!("nobody holds it: {acquired:?}") };
        assert_eq!(line.ask(Ask::Holds { fence }, WITHIN).await, Said::Done);
        fleet.freeze(holder);
        line.say(Ask::Holds { fence }, WITHIN).await.expect("there is room for a line");
        let other = fleet.others(holder)[0];
        let mut next = fleet.line(other);
        let later = timeout(PATIENCE, async {
            loop {
                match next.ask(acquire.clone(), WITHIN).await {
                    Said::Granted { fence } => return fence,
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        });
        let later = later.await.expect("its lease ends");
        assert!(later > fence, "{later} is not behind {fence}");
        fleet.thaw(holder);
        let holds = timeout(PATIENCE, line.hear()).await.expect("it answers").expect("it answers");
        assert_eq!(holds, Said::Lost, "another one holds it");
    }
}
