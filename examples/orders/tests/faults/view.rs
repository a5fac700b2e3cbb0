//! What a node shows, asked over HTTP.
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::Value;

use crate::{
    history::{NodeView, Record},
    load::post,
};

const ASK_WITHIN: Duration = Duration::from_secs(15);
/// Questions at once.
const AT_ONCE: usize = 16;
/// The most events a node keeps.
const EVENTS_MAX: usize = 10_000;
/// So many keys are sent again.
const REPEATS: usize = 50;

pub(crate) struct Viewer {
    client: Client,
    url: String,
}

impl Viewer {
    pub(crate) fn new(url: String) -> Self {
        Self { client: Client::builder().timeout(ASK_WITHIN).build().expect("a client"), url }
    }

    pub(crate) async fn view(&self, record: &Record) -> NodeView {
        NodeView {
            listed: self.listed().await,
            not_found: self.not_found(record).await,
            events: self.events().await,
            other_answers: self.other_answers(record).await,
            outbox: self.outbox().await,
        }
    }

    /// Rows that wait in the service's outbox, as the node sees it. Without one there are none.
    pub(crate) async fn outbox(&self) -> u64 {
        let health = self.get("/health").await;
        match &health["outbox"] {
            Value::Null => 0,
            outbox => ["waiting", "parked"].iter().map(|rows| count(outbox, rows)).sum(),
        }
    }

    /// Events of the log: their id and their order's.
    pub(crate) async fn events(&self) -> Vec<(String, String)> {
        let events = self.get(&format!("/events?limit={EVENTS_MAX}")).await;
        let events = events.as_array().expect("a list").iter();
        events.map(|event| (text(event, "eventId"), text(event, "orderId"))).collect()
    }

    async fn listed(&self) -> Vec<(String, String)> {
        let (mut all, mut path) = (Vec::new(), "/orders?limit=100".to_owned());
        loop {
            let page = self.get(&path).await;
            let orders = page["orders"].as_array().unwrap_or_else(|| panic!("{page}"));
            all.extend(orders.iter().map(|order| (text(order, "orderId"), text(order, "customerId"))));
            let Some(next) = page["next"].as_str() else { return all };
            path = format!("/orders?limit=100&after={next}");
        }
    }

    async fn not_found(&self, record: &Record) -> Vec<String> {
        let missing = record.accepted.iter().map(async |(key, accepted)| {
            let order = self.get(&format!("/orders/{}", accepted.order_id)).await;
            let shown = order["customerId"] == key.as_str() && order["orderId"] == accepted.order_id.as_str();
            (!shown).then(|| format!("{} of {key}: {order}", accepted.order_id))
        });
        stream::iter(missing).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Sends some accepted orders again under their keys.
    async fn other_answers(&self, record: &Record) -> Vec<String> {
        let step = (record.accepted.len() / REPEATS).max(1);
        let repeats = record.accepted.iter().step_by(step).map(async |(key, accepted)| {
            let (status, answer) = post(&self.client, &self.url, key).await.expect("an answer");
            (status != 201 || answer != accepted.answer).then(|| format!("{key}: {status} {answer}"))
        });
        stream::iter(repeats).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        let text = answer.text().await.expect("a text");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

fn count(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("no {member}: {value}"))
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}")).to_owned()
}
