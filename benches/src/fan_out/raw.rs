use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{self, Context, consumer::pull, stream},
};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::{Count, Counts, NODES, Publishes, drive};
use crate::{
    BoxError,
    message::{Happened, decode, encode},
    place::{Flavor, Place},
    rounds::Sample,
};

const STREAM: &str = "RAW";
const SUBJECT: &str = "raw.happened";

/// Three durable pull consumers in tasks of their own, and a publisher.
pub(super) struct Nodes {
    publisher: Place,
    context: Context,
    counts: Counts,
    nodes: Vec<(Place, JoinHandle<()>)>,
    ids: Arc<AtomicU64>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|(_, task)| task.abort());
    }
}

impl Nodes {
    pub(super) fn start(url: &str) -> Result<Self, BoxError> {
        let publisher = Place::new(Flavor::MultiThread)?;
        let address = url.to_owned();
        let context = publisher.run(async move {
            let context = jetstream::new(async_nats::connect(address).await?);
            let subjects = vec![SUBJECT.to_owned()];
            let stream = stream::Config { name: STREAM.to_owned(), subjects, ..Default::default() };
            context.create_stream(stream).await?;
            Ok::<_, BoxError>(context)
        })?;
        let counts = Counts::default();
        let mut nodes = Vec::new();
        for index in 0..NODES {
            let place = Place::new(Flavor::MultiThread)?;
            let task =
                place.run(consume(url.to_owned(), format!("n{index}"), Arc::clone(&counts.0[index])))?;
            nodes.push((place, task));
        }
        Ok(Self { publisher, context, counts, nodes, ids: Arc::default() })
    }

    pub(super) fn measure(&self, with_ids: bool, time: Duration) -> Result<Sample, BoxError> {
        let ids = with_ids.then(|| Arc::clone(&self.ids));
        drive(&self.publisher, &Publisher { context: self.context.clone(), ids }, &self.counts, time)
    }
}

async fn consume(url: String, name: String, count: Arc<Count>) -> Result<JoinHandle<()>, BoxError> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = pull::Config { durable_name: Some(name), ..Default::default() }; // explicit ack is its default
    let consumer = context.create_consumer_on_stream(config, STREAM).await?;
    let mut events = consumer.messages().await?;
    Ok(tokio::spawn(async move {
        while let Some(Ok(message)) = events.next().await {
            let Ok(event) = decode::<Happened>(&message.payload) else { continue };
            count.add(&event);
            if message.ack().await.is_err() {
                return;
            }
        }
    }))
}

/// Publishes with a message id or without.
#[derive(Clone)]
struct Publisher {
    context: Context,
    ids: Option<Arc<AtomicU64>>,
}

impl Publishes for Publisher {
    async fn publish(&self, event: Happened) -> Result<(), BoxError> {
        let payload = encode(&event)?;
        let stored = match &self.ids {
            None => self.context.publish(SUBJECT, payload).await?,
            Some(ids) => {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", ids.fetch_add(1, Ordering::Relaxed).to_string());
                self.context.publish_with_headers(SUBJECT, headers, payload).await?
            }
        };
        stored.await?;
        Ok(())
    }
}
