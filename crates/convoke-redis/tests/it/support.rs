use std::time::Duration;

use convoke_core::{Claim, ClaimKey, ClaimStore, Claimed, Holder, StoredOutcome};
use convoke_redis::{Config, Stores};
use convoke_testing::proxy::TcpProxy;
use convoke_testing::servers::RedisServer;
use uuid::Uuid;

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn connect(config: Config) -> Stores {
    Stores::connect_with(config).await.expect("the stores connect")
}

pub(crate) async fn proxied(server: &RedisServer) -> (TcpProxy, String) {
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy starts");
    let url = format!("redis://{}", proxy.address());
    (proxy, url)
}

pub(crate) fn key(key: &str) -> ClaimKey {
    ClaimKey { scope: "it".into(), key: key.into() }
}

pub(crate) fn claim(lease: Duration) -> Claim {
    Claim { owner: Uuid::now_v7(), message_id: Uuid::now_v7(), fingerprint: 1, lease }
}

pub(crate) async fn own(stores: &Stores, key: &ClaimKey, lease: Duration) -> Holder {
    let claim = claim(lease);
    match stores.claim(key, claim).await.expect("the store answers") {
        Claimed::Owned { fence, .. } => Holder { owner: claim.owner, fence },
        other => panic!("{key:?} is {other:?}"),
    }
}

pub(crate) fn done() -> StoredOutcome {
    StoredOutcome { rejected: false, answer: "done".into() }
}

/// Claims, completes, and finds the outcome.
pub(crate) async fn works(stores: &Stores, name: &str) {
    let key = key(name);
    let holder = own(stores, &key, LONG).await;
    assert!(stores.complete(&key, holder, done(), LONG).await.expect("the store answers"));
    let claimed = stores.claim(&key, claim(LONG)).await.expect("the store answers");
    assert_eq!(claimed, Claimed::Done(done()));
}
