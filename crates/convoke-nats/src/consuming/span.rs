//! Reads one span of a group's lanes, from the first event that was not acknowledged.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Consumer, Cursor, PAUSES, session::End};
use crate::{Error, api, jitter, lanes::SPANS, names::Lanes};

/// How long a reader that ends waits for what it has in hand, so that the next one need not see it again.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// Pause between two looks whether the server has heard our acknowledgements.
const ACKED_PAUSE: Duration = Duration::from_millis(20);
/// Pages of consumers' names that are looked through; the server puts 1024 on one.
const PAGES_MAX: usize = 64;

/// How a reading ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to.
    Over,
    /// The connection or the consumer is gone, or another node reads it.
    Lost(String),
    /// An event was handed back: its later ones must not be handed over before it comes again.
    HandedBack,
}

#[derive(Debug, Deserialize)]
struct Progress {
    config: Value,
    ack_floor: Floor,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(Debug, Deserialize)]
struct Floor {
    stream_seq: u64,
}

impl Consumer {
    /// Reads until it is told to end, or cannot go on.
    pub(crate) async fn read_span(
        &self,
        label: &str,
        epoch: u64,
        names: &[String],
        cursor: &mut Cursor,
    ) -> Ended {
        self.vitals.consumer_waits(label, "it is being set up");
        let [mut pause, pause_max] = PAUSES;
        let (inbox, stream_epoch) = loop {
            match self.attach_span(epoch, names, cursor).await {
                Ok(attached) => break attached,
                Err(error) if self.link.is_connected() && !error.is_permanent() && pause < pause_max => {
                    self.vitals.consumer_waits(label, error.to_string());
                    tokio::select! {
                        () = tokio::time::sleep(jitter::shortened(pause)) => pause = (pause * 2).min(pause_max),
                        () = self.told_to_end() => return Ended::Over,
                    }
                }
                Err(error) => return Ended::Lost(error.to_string()),
            }
        };
        self.vitals.consumer_runs(label);
        cursor.flight.mend();
        let end = self.session(inbox, cursor, stream_epoch).await;
        match end {
            End::Left => {
                self.settle_all(cursor).await;
                Ended::Over
            }
            End::Lost(why) => Ended::Lost(why.into_owned()),
            End::HandedBack => Ended::HandedBack,
        }
    }

    /// Makes the consumer of this epoch where the one before had come to, and removes that one.
    async fn attach_span(
        &self,
        epoch: u64,
        names: &[String],
        cursor: &mut Cursor,
    ) -> Result<(String, u64), Error> {
        let stream = self.names.stream(self.source);
        let state = self.stream_state(&stream, cursor).await?;
        let prefix = self.name.rsplit_once('=').map_or(&*self.name, |(prefix, _)| prefix).to_owned() + "=";
        let before = self.epochs(&stream, &prefix).await?;
        match before.last() {
            Some(last) if *last > epoch => {
                return Err(Error::unavailable("another node reads these lanes"));
            }
            Some(last) if *last == epoch => {} // the server's answer to our request was lost
            Some(last) => {
                let floor = self.progress(&stream, &format!("{prefix}{last}")).await?.ack_floor.stream_seq;
                self.make(&stream, &self.name, self.filters(names), Some(floor + 1)).await?;
            }
            None => self.make(&stream, &self.name, self.filters(names), None).await?,
        }
        for older in before.iter().filter(|older| **older < epoch) {
            self.remove(&stream, &format!("{prefix}{older}")).await?;
        }
        cursor.epoch = Some(state.epoch());
        Ok((self.link.client().new_inbox(), state.epoch()))
    }

    /// The epochs of the consumers that are there, in order.
    async fn epochs(&self, stream: &str, prefix: &str) -> Result<Vec<u64>, Error> {
        #[derive(Deserialize)]
        struct Page {
            total: usize,
            consumers: Option<Vec<String>>,
        }
        let (mut epochs, mut offset) = (Vec::new(), 0);
        for _ in 0..PAGES_MAX {
            let verb = format!("CONSUMER.NAMES.{stream}");
            let page: Page = self
                .inbox
                .api(&verb, &json!({ "offset": offset }))
                .await
                .map_err(|error| self.failed(&error))?;
            let consumers = page.consumers.unwrap_or_default();
            epochs.extend(consumers.iter().filter_map(|name| name.strip_prefix(prefix)?.parse::<u64>().ok()));
            offset += consumers.len();
            if consumers.is_empty() || offset >= page.total {
                break;
            }
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    async fn progress(&self, stream: &str, name: &str) -> Result<Progress, Error> {
        let verb = format!("CONSUMER.INFO.{stream}.{name}");
        self.inbox.api(&verb, &Value::Null).await.map_err(|error| {
            if error.err_code() == api::CONSUMER_NOT_FOUND {
                return Error::unavailable(format!("the consumer {name} was removed meanwhile"));
            }
            self.failed(&error)
        })
    }

    async fn make(
        &self,
        stream: &str,
        name: &str,
        filters: Vec<String>,
        start: Option<u64>,
    ) -> Result<(), Error> {
        let mut config = self.config();
        config["name"] = name.into();
        config["durable_name"] = name.into();
        config["filter_subjects"] = filters.into();
        match start {
            Some(start) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = start.max(1).into();
            }
            None => config["deliver_policy"] = "all".into(),
        }
        let body = json!({"stream_name": stream, "config": config, "action": "create"});
        let made = self.inbox.api::<Value>(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
        made.map(drop).map_err(|error| self.failed(&error))
    }

    /// A group of an older version had one consumer for all lanes: each span begins where that one is, before it is
    /// told to read the unkeyed lane alone.
    pub(super) async fn divide(&self, stream: &str) -> Result<(), Error> {
        let verb = format!("CONSUMER.INFO.{stream}.{}", self.name);
        let shared = match self.inbox.api::<Progress>(&verb, &Value::Null).await {
            Ok(shared) => shared,
            Err(error) if error.err_code() == api::CONSUMER_NOT_FOUND => return Ok(()),
            Err(error) => return Err(self.failed(&error)),
        };
        let unkeyed = self.filters(&self.wanted());
        if super::attach::filters(&shared.config).iter().all(|filter| unkeyed.contains(filter)) {
            return Ok(());
        }
        let floor = shared.ack_floor.stream_seq;
        for span in 0..SPANS {
            let prefix = format!("{}={span:02}=", self.name);
            if self.epochs(stream, &prefix).await?.is_empty() {
                let reader = Self { lanes: Lanes::Span(span), ..self.clone() };
                let filters = reader.filters(&self.wanted());
                self.make(stream, &format!("{prefix}0"), filters, Some(floor + 1)).await?;
            }
        }
        Ok(())
    }

    /// Waits a little until what is in hand is settled, and the server knows.
    async fn settle_all(&self, cursor: &Cursor) {
        let until = Instant::now() + SETTLE_MAX;
        while Instant::now() < until && self.link.is_connected() {
            if cursor.flight.len() == 0 {
                match self.progress(&self.names.stream(self.source), &self.name).await {
                    Ok(progress) if progress.num_ack_pending > 0 => {}
                    _ => return,
                }
            }
            drop(tokio::time::timeout(ACKED_PAUSE, cursor.flight.settled.notified()).await);
        }
    }
}
