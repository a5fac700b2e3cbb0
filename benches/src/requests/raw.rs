use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::{Asks, Outcome, drive};
use crate::{
    BoxError,
    message::{Echo, Echoed, decode, encode},
    place::{Flavor, Place},
};

const SUBJECT: &str = "raw.echo";

/// Two clients: one answers in a task of its own, the other one asks with `Client::request`.
pub(super) struct Pair {
    requester: Place,
    _responder: Place,
    client: Client,
    answering: JoinHandle<()>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Pair {
    pub(super) fn start(url: &str, flavor: Flavor) -> Result<Self, BoxError> {
        let (requester, responder) = (Place::new(flavor)?, Place::new(flavor)?);
        let address = url.to_owned();
        let answering = responder.run(async move {
            let client = async_nats::connect(address).await?;
            let mut requests = client.queue_subscribe(SUBJECT, "echo".to_owned()).await?;
            client.flush().await?;
            Ok::<_, BoxError>(tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    let Some(reply) = request.reply else { continue };
                    let Ok(echo) = decode::<Echo>(&request.payload) else { continue };
                    let Ok(answer) = encode(&echo.answer()) else { continue };
                    if client.publish(reply, answer).await.is_err() {
                        return;
                    }
                }
            }))
        })?;
        let address = url.to_owned();
        let client = requester.run(async move { async_nats::connect(address).await })?;
        Ok(Self { requester, _responder: responder, client, answering })
    }

    pub(super) fn measure(&self, in_flight: usize, time: Duration) -> Result<Outcome, BoxError> {
        drive(&self.requester, &self.client, in_flight, time)
    }
}

impl Asks for Client {
    async fn ask(&self, number: u32) -> Result<u32, BoxError> {
        let request = encode(&Echo::new(number))?;
        let answer = self.request(SUBJECT, request).await?;
        Ok(decode::<Echoed>(&answer.payload)?.number)
    }
}
