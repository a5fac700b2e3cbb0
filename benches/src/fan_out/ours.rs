use std::{sync::Arc, time::Duration};

use convoke::{App, Config, Handled, Mediator, Node, State, handler, nats::Transport};

use super::{Count, Counts, NODES, Publishes, drive};
use crate::{
    BoxError,
    message::Happened,
    place::{Flavor, Place},
    rounds::Sample,
};

/// Where nodes keep the marks of what they handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// In the process: a node that is started again may handle again what was in flight.
    Here,
    /// On the NATS server, before an event is acknowledged.
    OnServer,
}

/// Three nodes with a handler that runs once per node, and one that publishes.
pub(super) struct Nodes {
    publisher: Place,
    mediator: Mediator,
    counts: Counts,
    _nodes: Vec<(Place, Node)>,
    _publishing: Node,
}

#[handler]
async fn happened(event: Happened, State(count): State<Arc<Count>>) -> Handled {
    count.add(&event);
    Ok(())
}

impl Nodes {
    pub(super) fn start(url: &str, marks: Marks) -> Result<Self, BoxError> {
        let counts = Counts::default();
        let mut nodes = Vec::new();
        for index in 0..NODES {
            let place = Place::new(Flavor::MultiThread)?;
            let app = App::new("fan").node(format!("n{index}")).function(happened);
            let node = start(&place, url, marks, app.state(Arc::clone(&counts.0[index])))?;
            nodes.push((place, node));
        }
        let publisher = Place::new(Flavor::MultiThread)?;
        let publishing = start(&publisher, url, marks, App::new("publishing").node("publisher"))?;
        let mediator = publishing.mediator();
        Ok(Self { publisher, mediator, counts, _nodes: nodes, _publishing: publishing })
    }

    pub(super) fn measure(&self, time: Duration) -> Result<Sample, BoxError> {
        drive(&self.publisher, &self.mediator, &self.counts, time)
    }
}

fn start(place: &Place, url: &str, marks: Marks, app: App) -> Result<Node, BoxError> {
    let url = url.to_owned();
    place.run(async move {
        let transport = Transport::connect(url).await?;
        // a namespace of their own, so that neither handles what the others publish
        let mut config = Config::default();
        config.namespace = if marks == Marks::Here { "here" } else { "server" }.to_owned();
        let app = app.config(config);
        let app = if marks == Marks::Here { app } else { app.stores(transport.stores()) };
        let node = app.transport(transport).start().await?;
        node.ready(Duration::from_secs(10)).await?;
        Ok(node)
    })
}

impl Publishes for Mediator {
    async fn publish(&self, event: Happened) -> Result<(), BoxError> {
        Mediator::publish(self, event).await?;
        Ok(())
    }
}
