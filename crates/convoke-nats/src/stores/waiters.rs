//! Who on this node waits for which record: a write to a bucket is also an ordinary message on its subject.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_nats::Message;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::record::{Record, State};
use crate::{link::Link, task::Task};

/// So many records are listened to. Whoever comes later finds out by looking.
const SUBSCRIPTIONS_MAX: usize = 1024;

/// Everybody who waits. A record is listened to while somebody waits for it, so that a node hears no more than that.
#[derive(Debug)]
pub(super) struct Waiters {
    link: Arc<Link>,
    waiting: Mutex<HashMap<String, Listening>>,
}

#[derive(Debug)]
struct Listening {
    heard: watch::Sender<Heard>,
    waiting: usize,
    _task: Task,
}

#[derive(Debug, Default)]
struct Heard {
    subscribed: bool,
    changes: u64,
}

/// One who waits, until dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    waiters: Arc<Waiters>,
    subject: String,
    heard: watch::Receiver<Heard>,
    seen: u64,
}

impl Waiters {
    pub(super) fn new(link: &Arc<Link>) -> Self {
        Self { link: Arc::clone(link), waiting: Mutex::default() }
    }

    /// `None` when too many are listened to already.
    pub(super) fn join(self: &Arc<Self>, subject: String) -> Option<Waiter> {
        let mut waiting = self.lock();
        let full = waiting.len() >= SUBSCRIPTIONS_MAX;
        let listening = match waiting.entry(subject.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => {
                let heard = watch::Sender::new(Heard::default());
                let task = Task::spawn(listen(Arc::clone(&self.link), subject.clone(), heard.clone()));
                entry.insert(Listening { heard, waiting: 0, _task: task })
            }
        };
        listening.waiting += 1;
        let heard = listening.heard.subscribe();
        let seen = heard.borrow().changes;
        Some(Waiter { waiters: Arc::clone(self), subject, heard, seen })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Listening>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Returns when what changes after the next answer on this connection began is heard.
    pub(super) async fn listening(&mut self) {
        drop(self.heard.wait_for(|heard| heard.subscribed).await); // it lives while we do
    }

    /// Returns when the record changed since this waiter joined.
    pub(super) async fn woken(&mut self) {
        let seen = self.seen;
        drop(self.heard.wait_for(|heard| heard.changes != seen).await); // it lives while we do
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        if let Entry::Occupied(mut entry) = waiting.entry(std::mem::take(&mut self.subject)) {
            entry.get_mut().waiting -= 1;
            if entry.get().waiting == 0 {
                entry.remove();
            }
        }
    }
}

async fn listen(link: Arc<Link>, subject: String, heard: watch::Sender<Heard>) {
    let Ok(mut subscriber) = link.client().subscribe(subject).await else { return };
    heard.send_modify(|heard| heard.subscribed = true);
    while let Some(message) = subscriber.next().await {
        if is_end(&message) {
            heard.send_modify(|heard| heard.changes += 1);
        }
    }
}

/// Whether a wait may be over: a run that goes on, as a renewal says, is no news.
fn is_end(message: &Message) -> bool {
    Record::decode(&message.payload).map_or(true, |record| record.state != State::Running)
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use convoke_testing::servers::NatsServer;

    use super::*;
    use crate::Config;

    async fn waiters(test: &str) -> Option<(NatsServer, Arc<Waiters>)> {
        let server = NatsServer::start_or_skip(test).await?;
        let link = Link::connect(&Config::new(server.url())).await.expect("a link");
        Some((server, Arc::new(Waiters::new(&link))))
    }

    async fn in_time(woken: impl Future<Output = ()>) {
        tokio::time::timeout(Duration::from_secs(10), woken).await.expect("it is woken");
    }

    #[tokio::test]
    async fn a_change_wakes_all_who_wait_for_that_record_and_a_renewal_wakes_nobody() {
        let test = "a_change_wakes_all_who_wait_for_that_record_and_a_renewal_wakes_nobody";
        let Some((server, waiters)) = waiters(test).await else { return };
        let mut all = ["a", "a", "b"].map(|subject| waiters.join(subject.into()).expect("there is room"));
        for waiter in &mut all {
            waiter.listening().await;
        }
        // the server has our subscriptions when it has answered what came after them
        assert!(waiters.link.client().request("nobody.is.there", Bytes::new()).await.is_err());
        let other = async_nats::connect(server.url()).await.expect("another client");
        let claim = convoke_core::Claim {
            owner: uuid::Uuid::nil(),
            message_id: uuid::Uuid::nil(),
            fingerprint: 0,
            lease: Duration::from_secs(1),
        };
        let running = Record::running(&claim, 1, claim.message_id, 1);
        other.publish("b", running.encode()).await.expect("sent");
        other.publish("a", running.released().encode()).await.expect("sent");
        let [first, second, of_b] = &mut all;
        in_time(first.woken()).await;
        in_time(second.woken()).await;
        // heard in order: once woken by the second message, the first one did not count
        other.publish("b", Bytes::new()).await.expect("sent");
        in_time(of_b.woken()).await;
        assert_eq!(of_b.heard.borrow().changes, 1);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_left_and_their_number_has_a_limit() {
        let test = "nothing_is_kept_of_those_who_left_and_their_number_has_a_limit";
        let Some((_server, waiters)) = waiters(test).await else { return };
        let all: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|at| waiters.join(at.to_string())).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(waiters.join("one more".into()).is_none());
        assert!(waiters.join("0".into()).is_some(), "one that is listened to already costs nothing");
        drop(all);
        assert!(waiters.lock().is_empty());
        assert!(waiters.join("one more".into()).is_some());
    }
}
