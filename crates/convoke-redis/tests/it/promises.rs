//! The promises every store keeps, on a single server and on a cluster.

use convoke_redis::Config;
use convoke_testing::conformance::stores::Fixture;
use convoke_testing::servers::{RedisBuilder, RedisServer};

use crate::support::connect;

async fn fixture(
    server: RedisBuilder,
    test: &str,
    config: impl Fn(&RedisServer) -> Config,
) -> Option<Fixture> {
    let server = server.start_or_skip(test).await?;
    let first = connect(config(&server)).await;
    let second = connect(config(&server)).await;
    Some(Fixture::new(first.into(), second.into()).keeping(server))
}

mod single {
    use super::*;

    async fn single(test: &str) -> Option<Fixture> {
        fixture(RedisServer::builder(), test, |server| Config::new(server.url())).await
    }

    convoke_testing::conformance::stores!(single);

    mod outbox {
        convoke_testing::conformance::outbox!(super::single);
    }
}

mod cluster {
    use super::*;

    async fn cluster(test: &str) -> Option<Fixture> {
        fixture(RedisServer::builder().cluster(), test, |server| Config::new(server.url()).cluster()).await
    }

    convoke_testing::conformance::stores!(cluster);

    mod outbox {
        convoke_testing::conformance::outbox!(super::cluster);
    }
}
