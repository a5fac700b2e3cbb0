//! What a node received, in its memory: fed from the stream's beginning at every start, so complete again after one.
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use convoke::{Context, Handled, Service, handlers};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{OrderId, OrderPlaced, OrderShipped};

/// One event as this node got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// Names the event.
    pub event_id: Uuid,
    /// Its wire name.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// The order it is about.
    pub order_id: OrderId,
    /// The node that published it.
    pub published_by: String,
    /// When this run of the node got it.
    pub received_at: Timestamp,
}

/// The latest events of a node. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct EventFeed(Arc<Mutex<Window>>);

#[derive(Debug, Default)]
struct Window {
    events: VecDeque<Received>,
    ids: HashSet<Uuid>,
}

impl EventFeed {
    /// Most events that are kept; the oldest make room.
    pub const EVENTS_MAX: usize = 10_000;

    /// Adds an event, unless it is there already: an event may be delivered more than once.
    pub fn push(&self, event: Received) {
        let mut window = self.window();
        if !window.ids.insert(event.event_id) {
            return;
        }
        window.events.push_back(event);
        if window.events.len() > Self::EVENTS_MAX
            && let Some(oldest) = window.events.pop_front()
        {
            window.ids.remove(&oldest.event_id);
        }
    }

    /// Up to `limit` events, the latest first.
    pub fn latest(&self, limit: usize) -> Vec<Received> {
        self.window().events.iter().rev().take(limit).cloned().collect()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds the [`EventFeed`].
#[derive(Debug, Service)]
pub struct FeedView {
    feed: EventFeed,
}

#[handlers]
impl FeedView {
    #[handler(view)]
    async fn placed(&self, event: OrderPlaced, cx: &Context) -> Handled {
        self.note(event.order_id, cx);
        Ok(())
    }

    #[handler(view)]
    async fn shipped(&self, event: OrderShipped, cx: &Context) -> Handled {
        self.note(event.order_id, cx);
        Ok(())
    }

    fn note(&self, order_id: OrderId, cx: &Context) {
        self.feed.push(Received {
            event_id: cx.id(),
            name: cx.name(),
            order_id,
            published_by: cx.source().unwrap_or("unknown").to_owned(),
            received_at: Timestamp::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Received {
        Received {
            event_id: Uuid::now_v7(),
            name: "orders.placed.v1",
            order_id: OrderId::from(Uuid::now_v7()),
            published_by: "node1".into(),
            received_at: Timestamp::now(),
        }
    }

    #[test]
    fn an_event_that_comes_twice_is_kept_once() {
        let feed = EventFeed::default();
        let event = event();
        feed.push(event.clone());
        feed.push(event.clone());
        assert_eq!(feed.latest(10), [event]);
    }

    #[test]
    fn the_oldest_events_make_room() {
        let feed = EventFeed::default();
        let events: Vec<_> = (0..=EventFeed::EVENTS_MAX).map(|_| event()).collect();
        events.iter().for_each(|event| feed.push(event.clone()));
        let kept = feed.latest(usize::MAX);
        assert_eq!(kept.len(), EventFeed::EVENTS_MAX);
        assert_eq!((kept.first(), kept.last()), (events.last(), events.get(1)));
        feed.push(events[0].clone());
        assert_eq!(feed.latest(1), [events[0].clone()], "its id is forgotten with it");
    }
}
