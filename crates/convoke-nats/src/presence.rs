//! Two live nodes never share an id: a node that is there answers a ping.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use convoke_core::{TransportError, TransportErrorKind};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::{Error, inbox::Inbox, link::Link, names::Names, post::post, task::Task};

/// How long a node with our id may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long two nodes that start at once listen for each other.
const MEET: Duration = Duration::from_millis(100);

/// Answers pings while it is kept.
#[derive(Debug)]
pub(crate) struct Presence {
    _answering: Task,
}

impl Presence {
    /// Claims the node id, when nobody alive has it.
    pub(crate) async fn claim(
        link: &Arc<Link>,
        inbox: &Inbox,
        names: &Names,
        instance: &str,
    ) -> Result<Self, Error> {
        let (subject, deadline) = (names.ping(), Instant::now() + ANSWER_MAX);
        match inbox.request(subject.clone(), None, Bytes::new(), None, deadline).await {
            Ok(message) if *message.payload != *instance.as_bytes() => return Err(taken(names)),
            Ok(_) => {}
            Err(error) if error.kind() == TransportErrorKind::NoHandler => {}
            Err(error) if error.kind() == TransportErrorKind::TimedOut => {
                tracing::warn!(
                    node = names.node,
                    "a node with this id is connected and does not answer; going on"
                );
            }
            Err(error) => return Err(Error::unavailable(error)),
        }
        let presence = Self { _answering: answer(link, subject.clone(), instance).await? };
        presence.meet(link, inbox, names, instance).await?;
        Ok(presence)
    }

    /// Of two nodes that claimed at once, the one that started first stays.
    async fn meet(
        &self,
        link: &Arc<Link>,
        inbox: &Inbox,
        names: &Names,
        instance: &str,
    ) -> Result<(), Error> {
        let client = link.client();
        let reply = client.new_inbox();
        let deadline = Instant::now() + 2 * ANSWER_MAX;
        let mut answers = in_time(deadline, client.subscribe(reply.clone())).await?;
        in_time(deadline, client.publish_with_reply(names.ping(), reply, Bytes::new())).await?;
        inbox.barrier(deadline).await.map_err(Error::unavailable)?;
        let until = Instant::now() + MEET;
        while let Ok(Some(message)) = timeout_at(until, answers.next()).await {
            // instances are ordered by the time they started
            if !message.payload.is_empty() && *message.payload < *instance.as_bytes() {
                return Err(taken(names));
            }
        }
        Ok(())
    }
}

async fn answer(link: &Arc<Link>, subject: String, instance: &str) -> Result<Task, Error> {
    let deadline = Instant::now() + ANSWER_MAX;
    let mut pings = in_time(deadline, link.client().subscribe(subject)).await?;
    let (link, instance) = (Arc::clone(link), Bytes::from(instance.to_owned()));
    Ok(Task::spawn(async move {
        while let Some(ping) = pings.next().await {
            if let Some(reply) = &ping.reply {
                drop(post(link.client(), reply, None, instance.clone())); // a lost answer is a lost ping
            }
        }
    }))
}

async fn in_time<T, E>(deadline: Instant, future: impl Future<Output = Result<T, E>>) -> Result<T, Error>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match timeout_at(deadline, future).await {
        Ok(outcome) => outcome.map_err(Error::unavailable),
        Err(_) => Err(Error::unavailable(TransportError::from(TransportErrorKind::TimedOut))),
    }
}

fn taken(names: &Names) -> Error {
    Error::refused(format!(
        "a node with the id {:?} is alive in the namespace {:?}: give this one another id, or stop the other one",
        names.node, names.namespace
    ))
}
