//! What is too large is refused, and says so.

use convoke_core::{MarkStore, StoreErrorKind};
use convoke_redis::{Config, MARK_BYTES_MAX};
use convoke_testing::servers::RedisServer;

use crate::support::connect;

#[tokio::test]
async fn a_mark_above_the_limit_is_refused_and_nothing_is_stored() {
    let test = "a_mark_above_the_limit_is_refused_and_nothing_is_stored";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url())).await;
    let error = stores.save("m", vec![0; MARK_BYTES_MAX + 1].into(), None).await.expect_err("too large");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    assert_eq!(stores.load("m").await.expect("the store answers"), None);
    stores.save("m", vec![0; MARK_BYTES_MAX].into(), None).await.expect("as large as allowed");
}
