use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use convoke_cluster::{Coordinator, Leadership, Standing};
use convoke_testing::eventually;
use tokio::{sync::Notify, time::Instant};

use crate::support::{Nodes, PATIENCE, write};

/// Sets a flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_transfer_waits_for_no_election_timeout() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (mut leads, _) = nodes.leader().await;
    let mut gaps = Vec::new();
    for round in 0..10 {
        let to = nodes.running.keys().copied().find(|id| *id != leads).expect("there are others");
        let began = Instant::now();
        let now = nodes.running[&leads].transfer_leadership(Some(to)).await.expect("it hands over");
        write(&nodes.running[&now], format!("round {round}")).await.expect("the next leader takes it");
        gaps.push(began.elapsed());
        assert_eq!(now, to);
        leads = now;
        eventually("it is told", async || nodes.running[&now].is_leader()).await;
    }
    gaps.sort();
    // A leader that is only gone is followed after its lease and an election timeout.
    let election = nodes.timing.election;
    assert!(gaps[gaps.len() / 2] < election.0, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_gives_what_it_runs_a_value_back_and_a_follower_refuses_it() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (id, leader) = nodes.leader().await;
    let fence = leader.run_if_leader(async |fence| fence).await.expect("it leads");
    assert_eq!(fence.term, leader.leader().expect("it leads").term);
    write(leader, "line").await.expect("it is written");
    let later = leader.run_if_leader(async |fence| fence).await.expect("it leads");
    assert!(later > fence, "{later} is not behind {fence}");
    let (_, follower) = nodes.follower().await;
    follower.wait_for_leader(PATIENCE).await.expect("there is one");
    let refused = follower.run_if_leader(async |_| ()).await.expect_err("it does not lead");
    assert_eq!(refused.leader.expect("it knows the leader").node, format!("n{id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_the_leader_has_ended_before_leadership_is_handed_over() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    let (dropped, began) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let body = {
        let (leader, dropped, began) = (leader.clone(), Dropped(Arc::clone(&dropped)), Arc::clone(&began));
        tokio::spawn(async move {
            let run = leader.run_if_leader(async move |_| {
                let _dropped = dropped;
                began.notify_one();
                std::future::pending::<()>().await;
            });
            run.await
        })
    };
    began.notified().await;
    let leads = leader.transfer_leadership(None).await.expect("it hands over");
    assert!(dropped.load(Ordering::SeqCst), "the body was still there when {leads} led");
    body.await.expect("no panic").expect_err("it was cut short");
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_only_when_all_that_a_node_runs_for_the_leader_has_ended() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    let term = leader.leader().expect("it leads").term;
    let tenure = Coordinator::enter(leader, term).expect("it leads");
    let transfer = tokio::spawn({
        let leader = leader.clone();
        async move { leader.transfer_leadership(None).await }
    });
    let mut told = leader.leadership();
    told.wait_for(|told| !told.is_leader()).await.expect("the node lives");
    assert!(Coordinator::enter(leader, term).is_none(), "nothing more begins");
    assert_eq!(leader.metrics().standing, Standing::Leader, "nobody else leads yet");
    drop(tenure);
    transfer.await.expect("no panic").expect("it hands over");
    assert!(leader.leader().is_none_or(|next| next.term > term));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_nobody_leaves_the_leader_as_it_was() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    let term = leader.leader().expect("it leads").term;
    let stubborn = Coordinator::enter(leader, term).expect("it leads");
    Coordinator::resign(leader, Instant::now() + Duration::from_millis(100)).await;
    eventually("it goes on", async || leader.is_leader()).await;
    assert_eq!(leader.leader().expect("it leads").term, term, "what it ran did not end in time");
    drop(stubborn);
    Coordinator::resign(leader, Instant::now() + PATIENCE).await;
    assert!(!leader.is_leader());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_a_leader_that_loses_its_majority_ends_within_the_lease() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (leads, leader) = nodes.leader().await;
    let leader = leader.clone();
    let others: Vec<_> = nodes.running.keys().copied().filter(|id| *id != leads).collect();
    let (ticks, began) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let body = {
        let (leader, ticks, began) = (leader.clone(), Arc::clone(&ticks), Arc::clone(&began));
        tokio::spawn(async move {
            let run = leader.run_if_leader(async move |_| {
                began.notify_one();
                loop {
                    ticks.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            run.await
        })
    };
    began.notified().await;
    for other in others {
        nodes.kill(other);
    }
    let cut = Instant::now();
    body.await.expect("no panic").expect_err("nobody confirms its lease");
    // The lease, and some time for a busy machine.
    assert!(cut.elapsed() < Duration::from_millis(300) + Duration::from_secs(1), "{:?}", cut.elapsed());
    eventually("it is told", async || *leader.leadership().borrow() == Leadership::NoLeader).await;
    let after = ticks.load(Ordering::SeqCst);
    tokio::task::yield_now().await;
    assert_eq!(ticks.load(Ordering::SeqCst), after, "it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_hands_over_first() {
    let mut nodes = Nodes::on_disk(3);
    nodes.start_all().await;
    let (leads, leader) = nodes.leader().await;
    let term = leader.leader().expect("it leads").term;
    let began = Instant::now();
    leader.shutdown().await;
    nodes.kill(leads);
    let (next, leader) = nodes.leader().await;
    assert_ne!(next, leads);
    assert_eq!(leader.leader().expect("it leads").term, term + 1, "one election was enough");
    write(leader, "after").await.expect("it is written");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
