//! NATS keeps the promises of a transport. Each test has its own server and namespace.

use std::{sync::Arc, time::Duration};

use convoke_core::{NodeIdentity, Transport};
use convoke_nats::Config;
use convoke_testing::{conformance::transport::Fixture, servers::NatsServer};
use uuid::Uuid;

/// What a server takes with its default settings.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

struct Nats {
    server: NatsServer,
    namespace: String,
}

impl Fixture for Nats {
    async fn transport(&self) -> Arc<dyn Transport> {
        // short, because some tests wait for what a node that is gone had in hand
        let config = Config::new(self.server.url()).ack_wait(Duration::from_secs(2));
        Arc::new(convoke_nats::Transport::connect_with(config).await.expect("a good configuration"))
    }

    fn identity(&self, node: &str) -> NodeIdentity {
        let (namespace, service) = (self.namespace.clone(), "orders".to_owned());
        NodeIdentity { namespace, service, node: node.to_owned() }
    }

    fn message_bytes_max(&self) -> Option<usize> {
        Some(MESSAGE_BYTES_MAX)
    }
}

async fn fixture(test: &str) -> Option<Nats> {
    let server = NatsServer::start_or_skip(test).await?;
    Some(Nats { server, namespace: format!("conformance-{}", Uuid::now_v7().simple()) })
}

mod a_transport {
    convoke_testing::conformance::transport!(super::fixture);
}
