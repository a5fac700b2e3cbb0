//! Hears who is there. Each node says so twice a second; who was not heard of for [`GONE_AFTER`] is gone.
//!
//! A node that is taken for gone and is not loses its spans for nothing, and no more: see the module above.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::plan::View;
use crate::{link::Link, names::Names, post::post, task::Task};

const BEAT: Duration = Duration::from_millis(500);
/// Five beats that were missed.
pub(crate) const GONE_AFTER: Duration = Duration::from_millis(2500);
/// Nodes of a service that are listened to.
const MEMBERS_MAX: usize = 1024;
/// How long the subscription may wait for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// The nodes of a service that share groups.
#[derive(Debug)]
pub(crate) struct Members {
    pub(super) me: String,
    subject: String,
    state: Mutex<State>,
    beat_now: Notify,
    /// Counts changes of who is there.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Our groups.
    ours: BTreeMap<String, Mind>,
    heard: HashMap<String, Heard>,
    listening_since: Instant,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    groups: BTreeMap<String, Mind>,
}

/// What a member wants of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mind {
    /// Stands for the wire names.
    names: u64,
    /// Whether it takes lanes: a node that leaves does not.
    takes: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Beat {
    member: String,
    /// It just came: the others say at once that they are there.
    #[serde(default)]
    asks: bool,
    groups: BTreeMap<String, Mind>,
}

impl Members {
    pub(crate) fn new(names: &Names, instance: &str) -> Arc<Self> {
        let state = State { ours: BTreeMap::new(), heard: HashMap::new(), listening_since: Instant::now() };
        Arc::new(Self {
            me: format!("{}/{instance}", names.node),
            subject: names.members(),
            state: Mutex::new(state),
            beat_now: Notify::new(),
            changed: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says and hears for as long as the task is kept.
    pub(crate) fn listen(self: &Arc<Self>, link: Arc<Link>) -> Task {
        Task::spawn(Arc::clone(self).run(link))
    }

    async fn run(self: Arc<Self>, link: Arc<Link>) {
        let mut beats = loop {
            match timeout(ROOM_WAIT, link.client().subscribe(self.subject.clone())).await {
                Ok(Ok(beats)) => break beats,
                _ => tokio::time::sleep(BEAT).await,
            }
        };
        let mut state = link.watch();
        let mut breaks = state.borrow_and_update().breaks;
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ticked, mut asks) = (Instant::now(), true);
        loop {
            tokio::select! {
                beat = beats.next() => match beat {
                    Some(beat) => self.hear(&beat.payload),
                    None => return, // the connection was closed
                },
                () = self.beat_now.notified() => self.say(&link, asks),
                _ = ticks.tick() => {
                    if ticked.elapsed() > 2 * BEAT {
                        self.was_away(); // this process stood still, and so did its clock for others
                    }
                    ticked = Instant::now();
                    self.say(&link, asks);
                    asks = !link.is_connected();
                    self.forget_the_gone();
                }
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let known = std::mem::replace(&mut breaks, state.borrow_and_update().breaks);
                    if known != breaks || link.is_connected() {
                        self.was_away(); // what was said meanwhile did not reach us
                        asks = true;
                    }
                }
            }
        }
    }

    fn say(&self, link: &Link, asks: bool) {
        if !link.is_connected() {
            return; // it would be said late
        }
        let beat = Beat { member: self.me.clone(), asks, groups: self.lock().ours.clone() };
        let Ok(beat) = serde_json::to_vec(&beat) else { return };
        drop(post(link.client(), &self.subject.as_str().into(), None, Bytes::from(beat))); // one of many
    }

    fn hear(&self, beat: &[u8]) {
        let Ok(beat) = serde_json::from_slice::<Beat>(beat) else { return };
        if beat.member == self.me {
            return;
        }
        if beat.asks {
            self.beat_now.notify_one();
        }
        let mut state = self.lock();
        let known = state.heard.len();
        let news = match state.heard.get_mut(&beat.member) {
            Some(heard) => {
                heard.at = Instant::now();
                let news = heard.groups != beat.groups;
                heard.groups = beat.groups;
                news
            }
            None if known >= MEMBERS_MAX => false,
            None => {
                state.heard.insert(beat.member, Heard { at: Instant::now(), groups: beat.groups });
                true
            }
        };
        drop(state);
        if news {
            self.tell();
        }
    }

    /// Nobody could be heard: silence counts from now.
    fn was_away(&self) {
        let mut state = self.lock();
        state.listening_since = Instant::now();
        state.heard.values_mut().for_each(|heard| heard.at = Instant::now());
    }

    fn forget_the_gone(&self) {
        let mut state = self.lock();
        let before = state.heard.len();
        state.heard.retain(|member, heard| {
            let there = heard.at.elapsed() < GONE_AFTER;
            if !there {
                tracing::info!(member, "a node was not heard of and is taken for gone");
            }
            there
        });
        let news = state.heard.len() != before;
        drop(state);
        if news {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes us a member of a group, or changes what we want of it.
    pub(super) fn join(&self, group: &str, names: &[String], takes: bool) {
        let mind = Mind { names: digest(names), takes };
        let before = self.lock().ours.insert(group.to_owned(), mind.clone());
        if before != Some(mind) {
            self.beat_now.notify_one();
            self.tell();
        }
    }

    pub(super) fn leave(&self, group: &str) {
        self.lock().ours.remove(group);
        self.beat_now.notify_one();
    }

    /// Who is there of a group.
    pub(super) fn view(&self, group: &str) -> View {
        let state = self.lock();
        let mut view = View { just_came: state.listening_since.elapsed() < GONE_AFTER, ..View::default() };
        let Some(ours) = state.ours.get(group) else { return view };
        view.of_one_mind = true;
        view.members.insert(self.me.clone(), ours.takes);
        for (member, heard) in &state.heard {
            if let Some(mind) = heard.groups.get(group) {
                view.members.insert(member.clone(), mind.takes);
                view.of_one_mind &= mind.names == ours.names;
            }
        }
        view
    }
}

/// Equal for equal names, which are sorted.
fn digest(names: &[String]) -> u64 {
    names
        .iter()
        .flat_map(|name| name.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
