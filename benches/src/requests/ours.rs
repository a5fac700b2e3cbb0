use std::time::Duration;

use convoke::{App, Mediator, Node, Outcome, handler, nats::Transport};

use super::{Asks, drive};
use crate::{
    BoxError,
    message::Echo,
    place::{Flavor, Place},
};

/// Two nodes: one has the handler, the other one sends.
pub(super) struct Pair {
    requester: Place,
    _responder: Place,
    mediator: Mediator,
    _nodes: [Node; 2],
}

#[handler]
async fn echo(echo: Echo) -> Outcome<Echo> {
    Ok(echo.answer())
}

impl Pair {
    pub(super) fn start(url: &str, flavor: Flavor) -> Result<Self, BoxError> {
        let (requester, responder) = (Place::new(flavor)?, Place::new(flavor)?);
        let answers = start(&responder, url, App::new("echo").node("responder").function(echo))?;
        let asks = start(&requester, url, App::new("asking").node("requester"))?;
        let mediator = asks.mediator();
        Ok(Self { requester, _responder: responder, mediator, _nodes: [answers, asks] })
    }

    pub(super) fn measure(&self, in_flight: usize, time: Duration) -> Result<super::Outcome, BoxError> {
        drive(&self.requester, &self.mediator, in_flight, time)
    }
}

fn start(place: &Place, url: &str, app: App) -> Result<Node, BoxError> {
    let url = url.to_owned();
    place.run(async move {
        let node = app.transport(Transport::connect(url).await?).start().await?;
        node.ready(Duration::from_secs(10)).await?;
        Ok(node)
    })
}

impl Asks for Mediator {
    async fn ask(&self, number: u32) -> Result<u32, BoxError> {
        Ok(self.send(Echo::new(number)).await?.number)
    }
}
