//! Clients of three processes that are killed, stopped and cut off from each other.

use std::time::Duration;

use convoke_testing::is_soak;
use rand::{RngExt, seq::SliceRandom};
use tokio::time::sleep;

use crate::{
    books::Counts,
    clients::Clients,
    fleet::{Fleet, TIMING},
};

/// So much is answered between two faults.
const ANSWERS: u64 = 50;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// `kill -9`, and started again.
    Kill,
    /// Stopped and continued.
    Freeze,
    /// What one node sends to another one does not arrive.
    OneWay,
    /// The leader does not hear the others, which hear it: what it proposes they have, and it does not know.
    Deafen,
    /// The leader and the others do not hear each other.
    Isolate,
    /// All nodes are killed, and started again.
    RestartAll,
}

const FAULTS: [Fault; 6] =
    [Fault::Kill, Fault::Freeze, Fault::OneWay, Fault::Deafen, Fault::Isolate, Fault::RestartAll];

impl Fault {
    async fn strike(self, fleet: &mut Fleet) {
        let node = rand::rng().random_range(1..=3);
        let moment = Duration::from_millis(rand::rng().random_range(300..1500));
        match self {
            Self::Kill => {
                fleet.kill(node);
                sleep(moment).await;
                fleet.run(node);
            }
            Self::Freeze => {
                fleet.freeze(node);
                sleep(moment).await;
                fleet.thaw(node);
            }
            Self::OneWay => {
                fleet.board.block(node, node % 3 + 1);
                sleep(moment).await;
                fleet.board.heal();
            }
            Self::Deafen => {
                let (leader, term) = fleet.leader().await;
                fleet.others(leader).into_iter().for_each(|other| fleet.board.block(other, leader));
                fleet.next_leader(term).await;
                fleet.board.heal();
            }
            Self::Isolate => {
                let (leader, _) = fleet.leader().await;
                fleet.board.isolate(leader);
                sleep(moment).await;
                fleet.board.heal();
            }
            Self::RestartAll => {
                fleet.kill_all();
                fleet.run_all().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_are_told_is_linearizable_while_nodes_die_stand_still_and_are_cut_off() {
    let rounds = if is_soak() { 20 } else { 2 };
    let mut fleet = Fleet::start(TIMING).await;
    let total = Counts::default();
    for round in 1..=rounds {
        let clients = Clients::start(&fleet, &format!("round-{round}"));
        clients.are_served(ANSWERS).await;
        let mut faults = FAULTS;
        faults.shuffle(&mut rand::rng());
        println!("round {round}: {faults:?}");
        for fault in faults {
            fault.strike(&mut fleet).await;
            clients.are_served(ANSWERS).await;
        }
        total.add(&clients.stop_and_check(&fleet).await.counts);
    }
    let (writes, refused) = fleet.seen().assert_fenced();
    let faults = rounds * FAULTS.len();
    println!("{faults} faults: {total}; {writes} fenced writes, {refused} writers were fenced off");
    assert!(total.answered() >= ANSWERS * faults as u64);
}
