//! Whoever breaks things.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{dice::Dice, host::Common, machines::Machines, planted::Planted, world::Delay};

/// Kinds of faults there are.
pub(super) const KINDS: usize = 10;
/// So many numbers stand for something that is done; those behind the faults mend.
const DEEDS: usize = 18;
const LEADER_OFF: usize = 3;
const CRASH_OF_SEVERAL: usize = 9;
const START_ALL: usize = 11;
const MEND: usize = 14;

/// Kinds of faults, and how often each was made.
pub(super) type Made = BTreeMap<&'static str, u64>;

pub(super) struct Nemesis {
    pub(super) common: Arc<Common>,
    pub(super) machines: Arc<Machines>,
    pub(super) dice: Dice,
    pub(super) made: Made,
}

impl Nemesis {
    /// Breaks one thing after the other until the time is over, and mends some of it.
    pub(super) async fn rage(&mut self, until: Instant) {
        while Instant::now() < until {
            let (pause, next) = self.plan();
            sleep(pause).await;
            match next {
                0 | 1 => self.split(),
                2 => self.one_way(),
                LEADER_OFF => self.isolate_leader(),
                4 => self.cut(),
                5 => self.slow_way(),
                6 => self.slow_disk(),
                7 => self.crash_some(1),
                8 => self.crash_leader(),
                CRASH_OF_SEVERAL => {
                    let all = self.dice.falls(50);
                    self.crash_some(if all { self.machines.all().len() } else { 2 });
                }
                10 => self.transfer().await,
                START_ALL..MEND => self.machines.start_all(),
                _ => self.mend(),
            }
        }
    }

    /// What comes next, and when. A planted fault is looked for where it shows.
    fn plan(&mut self) -> (Duration, usize) {
        match self.common.planted {
            Planted::AckBeforeSync => {
                self.machines.slow_disks(150);
                (self.dice.millis(100..600), [CRASH_OF_SEVERAL, START_ALL][self.dice.below(2)])
            }
            Planted::LeaseUnchecked => (self.dice.millis(700..1500), [LEADER_OFF, MEND][self.dice.below(2)]),
            Planted::Nothing | Planted::NoDedup | Planted::MembersForgotten => {
                (self.dice.millis(100..700), self.dice.below(DEEDS))
            }
        }
    }

    /// Everything is as it should be.
    pub(super) fn mend(&mut self) {
        self.common.world.heal();
        self.machines.slow_disks(0);
        self.machines.start_all();
    }

    fn made(&mut self, fault: &'static str) {
        *self.made.entry(fault).or_default() += 1;
    }

    /// Two parts that do not hear each other.
    fn split(&mut self) {
        let mut one = self.machines.all();
        let other: Vec<u64> = (0..=self.dice.below(one.len() / 2))
            .map(|_| one.swap_remove(self.dice.below(one.len())))
            .collect();
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.common.world.block(a, b);
            self.common.world.block(b, a);
        }
        self.made("partition");
    }

    /// One that is heard and does not hear, or hears and is not heard.
    fn one_way(&mut self) {
        let all = self.machines.all();
        let Some(deaf) = self.dice.pick(&all) else { return };
        let hears = self.dice.falls(50);
        let whole = self.dice.falls(50);
        for other in all.into_iter().filter(|id| *id != deaf) {
            if whole || self.dice.falls(50) {
                let (from, to) = if hears { (deaf, other) } else { (other, deaf) };
                self.common.world.block(from, to);
            }
        }
        self.made("one-way partition");
    }

    fn isolate_leader(&mut self) {
        let Some((leader, _)) = self.machines.leader() else { return };
        for other in self.machines.all().into_iter().filter(|id| *id != leader) {
            self.common.world.block(leader, other);
            self.common.world.block(other, leader);
        }
        self.made("leader cut off");
    }

    fn cut(&mut self) {
        let all = self.machines.all();
        let one = self.dice.pick(&all).expect("there are nodes");
        for other in all.into_iter().filter(|id| *id != one) {
            self.common.world.cut(one, other);
        }
        self.made("connections broken");
    }

    fn slow_way(&mut self) {
        let all = self.machines.all();
        let from = self.dice.pick(&all).expect("there are nodes");
        let most_ms = [30, 120, 500][self.dice.below(3)];
        for to in all.into_iter().filter(|id| *id != from) {
            self.common.world.slow(from, to, Delay { least_ms: most_ms / 3, most_ms });
        }
        self.made("slow network");
    }

    fn slow_disk(&mut self) {
        let all = self.machines.all();
        let one = self.dice.pick(&all).expect("there are nodes");
        self.machines.slow_disk(one, [10, 50, 200][self.dice.below(3)]);
        self.made("slow disk");
    }

    fn crash_some(&mut self, count: usize) {
        for _ in 0..count {
            let up = self.machines.up();
            let Some(id) = self.dice.pick(&up) else { return };
            self.machines.crash(id);
        }
        self.made(if count == 1 { "crash" } else { "crash of several" });
    }

    fn crash_leader(&mut self) {
        let Some((leader, _)) = self.machines.leader() else { return };
        self.machines.crash(leader);
        self.made("crash of the leader");
    }

    async fn transfer(&mut self) {
        let Some((_, host)) = self.machines.leader() else { return };
        // It may fail, and take long: whoever else is wanted then comes first.
        let _ = timeout(Duration::from_millis(500), host.cluster.transfer_leadership(None)).await;
        self.made("transfer");
    }
}
