use std::{sync::Arc, time::Duration};

use convoke::{App, Handled, Mediator, Node, State, handler, nats::Transport};

use super::{Count, Counts, NODES, Publishes, drive};
use crate::{
    BoxError,
    message::Happened,
    place::{Flavor, Place},
    rounds::Sample,
};

/// Three nodes with a handler that runs once per node, which is marked on the server before the event is
/// acknowledged, and one that publishes.
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
    pub(super) fn start(url: &str) -> Result<Self, BoxError> {
        let counts = Counts::default();
        let mut nodes = Vec::new();
        for index in 0..NODES {
            let place = Place::new(Flavor::MultiThread)?;
            let app = App::new("fan").node(format!("n{index}")).function(happened);
            let node = start(&place, url, app.state(Arc::clone(&counts.0[index])))?;
            nodes.push((place, node));
        }
        let publisher = Place::new(Flavor::MultiThread)?;
        let publishing = start(&publisher, url, App::new("publishing").node("publisher"))?;
        let mediator = publishing.mediator();
        Ok(Self { publisher, mediator, counts, _nodes: nodes, _publishing: publishing })
    }

    pub(super) fn measure(&self, time: Duration) -> Result<Sample, BoxError> {
        drive(&self.publisher, &self.mediator, &self.counts, time)
    }
}

fn start(place: &Place, url: &str, app: App) -> Result<Node, BoxError> {
    let url = url.to_owned();
    place.run(async move {
        let transport = Transport::connect(url).await?;
        let stores = transport.stores();
        let node = app.stores(stores).transport(transport).start().await?;
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
