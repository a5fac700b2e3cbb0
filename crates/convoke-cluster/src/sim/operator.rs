//! Whoever changes who is a member, while things break.

mod ledger;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

pub(super) use self::ledger::Ledger;
use super::{
    clients::{Books, alive},
    dice::Dice,
    host::{Host, Skew, address},
    machines::Machines,
    nemesis::Made,
};
use crate::{Member, NodeId};

/// Kinds of changes there are.
pub(super) const KINDS: usize = 8;
/// Machines beside those that the cluster began with, at a time.
const SPARES: usize = 2;
/// Voters that are left when one is removed, at least: one of them may be gone for good.
const VOTERS_MIN: usize = 3;
/// Kinds of deeds that are drawn among.
const DEEDS: usize = 13;

/// A change of who is a member. All of them may be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Add { machine: u64 },
    Promote { machine: u64 },
    Remove { machine: u64, led: bool },
    Replace { old: u64, new: u64 },
}

pub(super) struct Operator {
    pub(super) books: Arc<Books>,
    pub(super) machines: Arc<Machines>,
    pub(super) dice: Dice,
    pub(super) ledger: Ledger,
    /// How wrong the clocks of new machines may be.
    pub(super) skewed: bool,
    /// Machines that the cluster began with.
    pub(super) founders: u64,
    pub(super) made: Made,
}

impl Operator {
    /// Changes one thing after the other until the time is over.
    pub(super) async fn operate(&mut self, until: Instant) {
        while Instant::now() < until {
            sleep(self.dice.millis(20..400)).await;
            // A change whose answer was lost is asked for again, mostly.
            if let Some(wish) = self.ledger.unsettled
                && self.dice.falls(70)
            {
                self.ask(wish).await;
                continue;
            }
            match self.dice.below(DEEDS) {
                0..=2 => self.join().await,
                3..=5 => self.promote().await,
                6 | 7 => self.remove().await,
                8 | 9 => self.remove_leader().await,
                10 => self.replace().await,
                11 => self.replace_dead().await,
                _ => self.transfer().await,
            }
        }
    }

    /// A new machine comes, before or after the cluster is told of it.
    async fn join(&mut self) {
        if let Some(machine) = self.machine(None) {
            self.ask(Wish::Add { machine }).await;
            self.machines.start_all();
        }
    }

    /// A new machine for a node of this name, unless there are enough.
    fn machine(&mut self, name: Option<String>) -> Option<u64> {
        let founders = usize::try_from(self.founders).expect("few");
        if self.machines.all().len() >= founders + SPARES {
            // Room is made by one that was removed and does not know.
            self.machines.retire(self.ledger.left.pop_first()?);
        }
        let machine = self.ledger.next_machine();
        let name = name.unwrap_or_else(|| format!("node-{machine}"));
        let skew = Skew::drawn(&mut self.dice, self.skewed);
        self.machines.add(machine, name.clone(), skew);
        self.ledger.names.insert(machine, name);
        if self.dice.falls(50) {
            self.machines.start(machine);
        }
        Some(machine)
    }

    async fn promote(&mut self) {
        let learner = self.dice.pick(&self.ledger.learners());
        if let Some(machine) = learner {
            self.ask(Wish::Promote { machine }).await;
        }
    }

    /// A voter, or now and then a learner.
    async fn remove(&mut self) {
        let voters = self.ledger.voters();
        let learner = self.dice.pick(&self.ledger.learners()).filter(|_| self.dice.falls(30));
        let voter = self.dice.pick(&voters).filter(|_| voters.len() > VOTERS_MIN);
        if let Some(machine) = learner.or(voter) {
            self.ask(Wish::Remove { machine, led: false }).await;
        }
    }

    async fn remove_leader(&mut self) {
        let voters = self.ledger.voters();
        let leader = self.machines.leader().map(|(machine, _)| machine);
        if let Some(machine) = leader.filter(|leader| voters.len() > VOTERS_MIN && voters.contains(leader)) {
            self.ask(Wish::Remove { machine, led: true }).await;
        }
    }

    /// A learner takes the place of a voter that is well.
    async fn replace(&mut self) {
        let old = self.dice.pick(&self.ledger.voters());
        let new = self.dice.pick(&self.ledger.learners());
        if let (Some(old), Some(new)) = (old, new) {
            self.ask(Wish::Replace { old, new }).await;
        }
    }

    /// A machine dies for good, and another one takes its place, under its name. One at a time.
    async fn replace_dead(&mut self) {
        if self.ledger.dead.is_none() {
            let voters = self.ledger.voters();
            if voters.len() < VOTERS_MIN {
                return; // one of them may be on its way out
            }
            let Some(dead) = self.dice.pick(&voters) else { return };
            self.ledger.died(dead);
            self.machines.retire(dead);
        }
        let Some(dead) = self.ledger.dead else { return };
        let new = match self.dice.pick(&self.ledger.learners()) {
            Some(learner) => learner,
            None => {
                let name = self.ledger.names[&dead].clone();
                let Some(machine) = self.machine(Some(name)) else { return };
                let added = self.ask(Wish::Add { machine }).await;
                self.machines.start_all();
                if !added {
                    return;
                }
                machine
            }
        };
        self.ask(Wish::Replace { old: dead, new }).await;
    }

    async fn transfer(&mut self) {
        let leader = self.machines.leader().map(|(machine, _)| machine);
        let mut others = self.ledger.voters();
        others.retain(|machine| Some(*machine) != leader);
        let Some(to) = self.dice.pick(&others).and_then(|machine| self.ledger.id(machine)) else { return };
        let Some(host) = self.books.any_host(&mut self.dice) else { return };
        let asked = timeout(self.within(), alive(&host, host.cluster.transfer_leadership(Some(to)))).await;
        if let Ok(Some(Ok(_))) = asked {
            self.made("transfer to a chosen voter");
        }
    }

    fn within(&mut self) -> Duration {
        self.dice.millis(200..1500)
    }

    /// Asks any node for it, and not for ever: whether it is done later is then not known.
    async fn ask(&mut self, wish: Wish) -> bool {
        let Some(host) = self.books.any_host(&mut self.dice) else { return false };
        self.ledger.asks(wish);
        let within = self.within();
        let asked = timeout(within, alive(&host, change(&self.ledger, &self.books, &host, wish))).await;
        let done = matches!(asked, Ok(Some(Ok(_))));
        self.books.world.note("change", [wish.machine(), host.life.node, u64::from(done)]);
        let Ok(Some(Ok(id))) = asked else {
            self.made("change without an answer");
            return false;
        };
        self.made(self.ledger.kind(wish));
        self.ledger.done(wish, id);
        self.leave(wish);
        true
    }

    /// What becomes of the machine that is no member any more: it may go, or stay and not know.
    fn leave(&mut self, wish: Wish) {
        let (Wish::Remove { machine, .. } | Wish::Replace { old: machine, .. }) = wish else { return };
        if self.dice.falls(60) {
            self.ledger.left.remove(&machine);
            self.machines.retire(machine);
        }
    }

    fn made(&mut self, change: &'static str) {
        *self.made.entry(change).or_default() += 1;
    }
}

async fn change(ledger: &Ledger, books: &Books, host: &Host, wish: Wish) -> Result<NodeId, crate::Error> {
    let unknown = || crate::Error::unavailable("its number is not known");
    let id = |machine| ledger.id(machine).or_else(|| books.id_of(machine)).ok_or_else(unknown);
    match wish {
        Wish::Add { machine } => match books.id_of(machine) {
            Some(id) => Ok(id), // it was added when that was asked for before
            None => host.cluster.add_learner(Member::new(&ledger.names[&machine], address(machine))).await,
        },
        Wish::Promote { machine } => {
            let id = id(machine)?;
            host.cluster.promote(id).await.map(|()| id)
        }
        Wish::Remove { machine, .. } => {
            let id = id(machine)?;
            host.cluster.remove(id).await.map(|()| id)
        }
        Wish::Replace { old, new } => {
            let (old, new) = (id(old)?, id(new)?);
            host.cluster.replace(old, new).await.map(|()| new)
        }
    }
}

impl Wish {
    fn machine(self) -> u64 {
        match self {
            Self::Add { machine } | Self::Promote { machine } | Self::Remove { machine, .. } => machine,
            Self::Replace { new, .. } => new,
        }
    }
}
