//! The promises every store keeps.

use convoke_nats::StoresConfig;
use convoke_testing::{conformance::stores::Fixture, servers::NatsServer};

use crate::support::connect;

async fn fixture(test: &str) -> Option<Fixture> {
    let server = NatsServer::start_or_skip(test).await?;
    let first = connect(server.url(), StoresConfig::default()).await;
    let second = connect(server.url(), StoresConfig::default()).await;
    Some(Fixture::new(first.into(), second.into()).keeping(server))
}

mod single {
    convoke_testing::conformance::stores!(super::fixture);
}
