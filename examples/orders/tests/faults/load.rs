//! Callers who want each of their orders once, whatever happens.
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant, time::sleep};

use crate::{
    fleet::{Fleet, NODES},
    history::{Accepted, Record},
    plan::Plan,
};

/// How long a caller goes on with one order.
const ORDER_WITHIN: Duration = Duration::from_secs(60);
/// Longer than a node's own deadline and the longest stop together: what takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// How long the other half of the callers waits before it asks another node.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Callers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    stop: AtomicBool,
}

struct Caller {
    number: usize,
    fleet: Arc<Fleet>,
    shared: Arc<Shared>,
    client: Client,
    patient: bool,
}

/// What one attempt came to.
enum Attempt {
    Accepted(Accepted),
    Again(String),
    Faulted(String),
    Hung,
    Wrong(String),
}

impl Load {
    pub(crate) fn start(fleet: &Arc<Fleet>, plan: &Plan) -> Self {
        let shared = Arc::<Shared>::default();
        let mut callers = JoinSet::new();
        for number in 0..plan.callers {
            let patient = number % 2 == 0;
            let patience = if patient { HANGS_AFTER } else { PATIENCE };
            let client = Client::builder().timeout(patience).build().expect("a client");
            let (fleet, shared) = (Arc::clone(fleet), Arc::clone(&shared));
            let caller = Caller { number, fleet, shared, client, patient };
            callers.spawn(caller.work(plan.pause));
        }
        Self { shared, callers }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.shared.record().accepted.len()
    }

    pub(crate) fn retries(&self) -> usize {
        self.shared.record().retries.values().sum()
    }

    /// Lets everybody finish the order they are at.
    pub(crate) async fn finish(mut self) -> Record {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no caller panics");
        }
        self.shared.record().clone()
    }
}

impl Shared {
    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    async fn work(self, pause: Duration) {
        let mut n = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.place(&format!("c{}-{n}", self.number), n).await;
            n += 1;
            sleep(pause).await;
        }
    }

    /// Asks one node after the other, always with the same key, until one has placed it.
    async fn place(&self, key: &str, n: usize) {
        let give_up = Instant::now() + ORDER_WITHIN;
        let mut node = self.number + n;
        loop {
            let attempt = self.attempt(&self.fleet.url(node % 3), key).await;
            if self.note(key, node % 3, attempt, Instant::now() >= give_up) {
                return;
            }
            node += 1;
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Writes it down; whether that was the last attempt.
    fn note(&self, key: &str, node: usize, attempt: Attempt, last: bool) -> bool {
        let mut record = self.shared.record();
        let mut last = last;
        match attempt {
            Attempt::Accepted(accepted) => {
                record.accepted.insert(key.to_owned(), accepted);
                return true;
            }
            Attempt::Again(why) => *record.retries.entry(why).or_default() += 1,
            Attempt::Faulted(answer) => {
                *record.retries.entry("500".to_owned()).or_default() += 1;
                record.faults.insert(answer);
            }
            Attempt::Hung => record.hung.push(format!("{key} at {}", NODES[node])),
            Attempt::Wrong(answer) => {
                record.unexpected.push(format!("{key}: {answer}"));
                last = true;
            }
        }
        if last {
            record.unknown.insert(key.to_owned());
        }
        last
    }

    async fn attempt(&self, url: &str, key: &str) -> Attempt {
        let (status, text) = match post(&self.client, url, key).await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() && self.patient => return Attempt::Hung,
            Err(error) if error.is_timeout() => return Attempt::Again("impatient".to_owned()),
            Err(_) => return Attempt::Again("disconnected".to_owned()),
        };
        match (status, order_id(&text)) {
            (201, Some(order_id)) => Attempt::Accepted(Accepted { order_id, answer: text }),
            (500, _) => Attempt::Faulted(text),
            (409 | 502 | 503 | 504, _) => Attempt::Again(status.to_string()),
            _ => Attempt::Wrong(format!("{status} {text}")),
        }
    }
}

/// Places the order of this key, and returns the status and the text.
pub(crate) async fn post(client: &Client, url: &str, key: &str) -> reqwest::Result<(u16, String)> {
    let order = json!({
        "customerId": key,
        "items": [{ "productId": "P-1", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 }],
    });
    let request = client.post(format!("{url}/orders")).header("Idempotency-Key", key).json(&order);
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

fn order_id(text: &str) -> Option<String> {
    serde_json::from_str::<Value>(text).ok()?["orderId"].as_str().map(str::to_owned)
}
