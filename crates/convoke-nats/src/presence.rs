//! Two live nodes never share an id for long: a node that is there answers a ping, and each start leaves a record
//! that makes an older run stop.
//!
//! The record is written only over the one that was read before the ping. So of two nodes that start at once one is
//! first, and the other one's ping is answered. Who does not answer, because its link is broken, finds the record of
//! its successor when it is back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use convoke_core::{TransportError, TransportErrorKind};
use futures_util::StreamExt;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    Error,
    inbox::Inbox,
    link::Link,
    names::Names,
    post::post,
    records::{Record, Records},
    task::Task,
};

/// How long a node with our id, or the server, may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// So often other nodes may be first before it is tried again later.
const ROUNDS_MAX: usize = 5;

/// Answers pings, and hears of another node's record, while it is kept.
#[derive(Debug)]
pub(crate) struct Presence {
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    records: Records,
    names: Names,
    instance: String,
    challenged: Arc<Notify>,
    tasks: Vec<Task>,
}

impl Presence {
    /// Claims the node id, when nobody alive has it.
    pub(crate) async fn claim(
        link: &Arc<Link>,
        inbox: &Arc<Inbox>,
        names: &Names,
        instance: &str,
    ) -> Result<Self, Error> {
        let mut presence = Self {
            link: Arc::clone(link),
            inbox: Arc::clone(inbox),
            records: Records::new(Arc::clone(inbox), names.nodes_bucket()),
            names: names.clone(),
            instance: instance.to_owned(),
            challenged: Arc::default(),
            tasks: Vec::new(),
        };
        presence.take().await?;
        Ok(presence)
    }

    /// Waits until another node wrote a record under our id.
    pub(crate) async fn challenged(&self) {
        self.challenged.notified().await;
    }

    /// Whether the id is still ours. A record that is gone is written again.
    ///
    /// # Errors
    /// Permanent when another node took over.
    pub(crate) async fn check(&mut self) -> Result<(), Error> {
        match self.record().await? {
            Some(record) if record.content == self.instance.as_bytes() => Ok(()),
            // records are written over the one that was read: another one than ours is newer
            Some(_) => Err(Error::refused(format!(
                "another node took over the id {:?} in the namespace {:?} while this one did not answer: this one \
                 stops. When both should run, give one of them another id",
                self.names.node, self.names.namespace
            ))),
            None => self.take().await,
        }
    }

    async fn take(&mut self) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let before = match self.record().await? {
                Some(record) if record.content == self.instance.as_bytes() => return Ok(()),
                before => before.map_or(0, |record| record.revision),
            };
            self.ping().await?;
            if self.tasks.is_empty() {
                // before our record is there: whoever writes the next one finds us answering, and is heard
                self.tasks = vec![self.answer().await?, self.listen().await?];
                self.inbox.barrier(Instant::now() + ANSWER_MAX).await.map_err(Error::unavailable)?;
            }
            if self.write(before).await? {
                return Ok(());
            }
        }
        Err(Error::unavailable(format!("several nodes start under the id {:?}", self.names.node)))
    }

    async fn ping(&self) -> Result<(), Error> {
        let deadline = Instant::now() + ANSWER_MAX;
        let own = Bytes::from(self.instance.clone()); // so that we do not answer ourselves before others do
        match self.inbox.request(self.names.ping(), None, own, None, deadline).await {
            Ok(_) => Err(taken(&self.names)),
            Err(error) if error.kind() == TransportErrorKind::NoHandler => Ok(()),
            Err(error) if error.kind() == TransportErrorKind::TimedOut && !self.tasks.is_empty() => Ok(()),
            Err(error) if error.kind() == TransportErrorKind::TimedOut => {
                tracing::warn!(
                    node = self.names.node,
                    "a node with this id is connected and does not answer; going on, and it will stop"
                );
                Ok(())
            }
            Err(error) => Err(Error::unavailable(error)),
        }
    }

    async fn record(&self) -> Result<Option<Record>, Error> {
        self.records.latest(&self.names.node_record()).await
    }

    /// Writes our record over the one of this revision. `false`: there is another one by now, perhaps ours, whose
    /// confirmation was lost.
    async fn write(&self, over: u64) -> Result<bool, Error> {
        self.records.write(self.names.node_record(), over, Bytes::from(self.instance.clone())).await
    }

    async fn answer(&self) -> Result<Task, Error> {
        let mut pings = self.subscribe(self.names.ping()).await?;
        let (link, instance) = (Arc::clone(&self.link), Bytes::from(self.instance.clone()));
        Ok(Task::spawn(async move {
            while let Some(ping) = pings.next().await {
                if let Some(reply) = ping.reply.as_ref().filter(|_| ping.payload != instance) {
                    drop(post(link.client(), reply, None, instance.clone())); // a lost answer is a lost ping
                }
            }
        }))
    }

    /// Whether a record was stored, and in which order, only the stream knows: who hears of one looks.
    async fn listen(&self) -> Result<Task, Error> {
        let mut records = self.subscribe(self.names.node_record()).await?;
        let (instance, challenged) = (self.instance.clone(), Arc::clone(&self.challenged));
        Ok(Task::spawn(async move {
            while let Some(record) = records.next().await {
                if *record.payload != *instance.as_bytes() {
                    challenged.notify_one();
                }
            }
        }))
    }

    async fn subscribe(&self, subject: String) -> Result<async_nats::Subscriber, Error> {
        match timeout_at(Instant::now() + ANSWER_MAX, self.link.client().subscribe(subject)).await {
            Ok(outcome) => outcome.map_err(Error::unavailable),
            Err(_) => Err(Error::unavailable(TransportError::from(TransportErrorKind::TimedOut))),
        }
    }
}

fn taken(names: &Names) -> Error {
    Error::refused(format!(
        "a node with the id {:?} is alive in the namespace {:?}: give this one another id, or stop the other one",
        names.node, names.namespace
    ))
}
