//! A node whose disk has no more room, among others that have.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
    time::Duration,
};

use convoke_testing::{Disk, eventually_within, is_soak};

use crate::{
    books::Counts,
    clients::Clients,
    fleet::{Fleet, PATIENCE, TIMING},
    wire::Ask,
};

/// The node with the small disk.
const STARVED: u64 = 2;
/// So much is answered by the others while it is down, and after it came back.
const ANSWERS: u64 = 100;
/// A write of which few fill the room that a log has taken ahead.
const FILL_BYTES: usize = 512 * 1024;
const WITHIN: Duration = Duration::from_secs(5);

/// A file that takes all the room there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the disk is ours");
    for piece in [1024 * 1024, 4096, 1] {
        loop {
            match file.write_all(&vec![b'.'; piece]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    file.sync_all().expect("what was written has its room");
}

/// Makes this node lead, or follow.
async fn lead(fleet: &Fleet, node: u64, leads: bool) {
    let done = eventually_within(PATIENCE, "leadership is where it shall be", async || {
        let (leader, _) = fleet.leader().await;
        let is_there = (leader == node) == leads;
        if !is_there {
            let to = if leads { node } else { fleet.others(node)[0] };
            fleet.ask(leader, Ask::Transfer { to: Some(to) }, WITHIN).await;
        }
        is_there
    });
    done.await;
}

/// Writes until the node with the small disk says that it cannot go on.
async fn starve(fleet: &Fleet) -> String {
    let other = fleet.others(STARVED)[0];
    let down = eventually_within(PATIENCE, "the node says that its disk is full", async || {
        fleet.ask(other, Ask::Fill { bytes: FILL_BYTES }, WITHIN).await;
        let down = fleet.standing(STARVED).await?.down;
        down.filter(|why| why.contains("make room"))
    });
    down.await
}

/// Waits until the node has what the leader has at this moment.
async fn catches_up(fleet: &Fleet) {
    let (leader, _) = fleet.leader().await;
    let standing = eventually_within(PATIENCE, "the leader answers", async || fleet.standing(leader).await);
    let applied = standing.await.applied;
    let caught_up =
        eventually_within(PATIENCE, "the node catches up", async || match fleet.standing(STARVED).await {
            Some(standing) if standing.applied >= applied && standing.down.is_none() => Ok(()),
            standing => Err(standing),
        });
    caught_up.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_says_so_acknowledges_nothing_it_does_not_keep_and_catches_up_later() {
    let test = "a_node_whose_disk_is_full_says_so_acknowledges_nothing_it_does_not_keep_and_catches_up_later";
    let Some(disk) = Disk::of_size_or_skip(test, "96M") else { return };
    let filler = disk.path().join("filler");
    let rounds = if is_soak() { 10 } else { 1 };
    let elsewhere = BTreeMap::from([(STARVED, disk.path().join("node"))]);
    let mut fleet = Fleet::prepare(TIMING, &elsewhere).await;
    fleet.run_all().await;
    let total = Counts::default();
    for (round, leads) in (0..rounds).flat_map(|round| [(round, false), (round, true)]) {
        let clients = Clients::start(&fleet, &format!("round-{round}-{leads}"));
        clients.are_served(ANSWERS).await;
        lead(&fleet, STARVED, leads).await;
        fill(&filler);
        let why = starve(&fleet).await;
        println!("the node that {}: {why}", if leads { "led" } else { "followed" });
        clients.are_served(ANSWERS).await;
        assert!(fleet.leads().await.is_none_or(|(leader, _)| leader != STARVED));

        fs::remove_file(&filler).expect("it is ours");
        fleet.kill(STARVED);
        fleet.run(STARVED);
        catches_up(&fleet).await;
        clients.are_served(ANSWERS).await;
        total.add(&clients.stop_and_check(&fleet).await.counts);
    }
    println!("{} full disks: {total}", 2 * rounds);
    fleet.kill_all();
}
