//! Three nodes in one process, on one bus, with one store.
use std::{net::SocketAddr, sync::Arc};

use convoke::{App, Error, InProcess, Stores, http::ServeConfig, stores_in_process};
use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::info;

use crate::{
    Effects, EventFeed, Repository, app,
    http::Guards,
    repository::InProcessOrders,
    running::{Http, Running, listen, node_config},
    settings::Role,
};

/// The nodes of a demo.
pub const NODES: u16 = 3;

/// Three running nodes.
#[derive(Debug)]
pub struct Demo {
    nodes: Vec<Running>,
}

/// What the nodes of one process have in common.
struct Shared {
    bus: InProcess,
    stores: Stores,
    repository: Repository,
}

impl Shared {
    fn app(&self, node: &str, feed: EventFeed) -> App {
        app(self.repository.clone(), feed, Effects::default())
            .node(node)
            .config(node_config("demo"))
            .on(self.bus.another_node(), self.stores.clone())
    }
}

impl Demo {
    /// Starts the nodes on this port of 127.0.0.1 and the two after it; 0 takes free ones.
    ///
    /// # Errors
    /// A sentence that says what to do, when a port is taken.
    pub async fn start(port: u16) -> Result<Self, Error> {
        let mut listeners = Vec::new();
        for offset in 0..NODES {
            let port = if port == 0 { 0 } else { port + offset };
            let listener = listen(&format!("127.0.0.1:{port}"), "--port").await?;
            listeners.push(listener);
        }
        let repository = Arc::new(InProcessOrders::default());
        let shared = Shared { bus: InProcess::new(), stores: stores_in_process(), repository };
        let mut nodes = Vec::new();
        for (number, listener) in (1..).zip(listeners) {
            let feed = EventFeed::default();
            let app = shared.app(&format!("node{number}"), feed.clone());
            let http = Http {
                listener,
                config: ServeConfig::default(),
                role: Role::Api,
                guards: Guards::default(),
                cluster: None,
            };
            nodes.push(Running::start(app, feed, http).await?);
        }
        Ok(Self { nodes })
    }

    /// Where the nodes serve HTTP.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Running::address).collect()
    }

    /// Runs until the future ends, then stops all nodes in order.
    ///
    /// # Errors
    /// What failed for good.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let stop = watch::Sender::new(false);
        let runs = self.nodes.into_iter().map(|node| {
            let (id, mut stopped) = (node.node().id().to_owned(), stop.subscribe());
            let stopped = async move {
                let _ = stopped.wait_for(|stop| *stop).await; // an error is the end as well
            };
            async move { (id, node.run_until(stopped).await) }
        });
        let all = join_all(runs);
        tokio::pin!(all);
        let ended = tokio::select! {
            () = shutdown => {
                stop.send_replace(true);
                all.await
            }
            ended = &mut all => ended,
        };
        for (node, report) in ended {
            let report = report?;
            info!(node, "{node} ended: {report}");
        }
        Ok(())
    }

    /// The commands to try.
    #[must_use]
    pub fn introduction(&self) -> String {
        let addresses = self.addresses();
        let url = |n: usize| format!("http://{}", addresses[n % addresses.len()]);
        let (first, second, third) = (url(0), url(1), url(2));
        format!(
            r#"Three nodes run in this process: {first}  {second}  {third}

Place an order on one node; one of the three handles it:
  curl -i {first}/orders -H 'content-type: application/json' -H 'idempotency-key: demo-1' \
    -d '{{"customerId":"CUST-001","items":[{{"productId":"PROD-001","productName":"Laptop","quantity":1,"unitPrice":999.99}}]}}'
Read it from another one, and ship it at the third (put the orderId in):
  curl {second}/orders/ORDER_ID
  curl -X POST {third}/orders/ORDER_ID/ship
All orders, the events a node received, and how it is:
  curl '{first}/orders?limit=20'
  curl {second}/events
  curl {third}/health
Ctrl-C stops all three.
"#
        )
    }
}
