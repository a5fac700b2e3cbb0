use std::time::Duration;

use convoke_core::{Claim, ClaimKey, ClaimStore, Claimed, Holder, StoredOutcome};
use convoke_nats::{Config, Stores, StoresConfig, async_nats};
use convoke_testing::servers::NatsServer;
use uuid::Uuid;

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn connect(url: impl AsRef<str>, stores: StoresConfig) -> Stores {
    // so that a new connection is made soon after a fault
    let config = Config::new(url).reconnect_delay_max(Duration::from_millis(100));
    Stores::connect_with(config, stores).await.expect("the stores connect")
}

pub(crate) async fn jetstream(server: &NatsServer) -> async_nats::jetstream::Context {
    let client = async_nats::connect(server.url()).await.expect("a client connects");
    async_nats::jetstream::new(client)
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
    let key = key(&name.replace(' ', "-"));
    let holder = own(stores, &key, LONG).await;
    assert!(stores.complete(&key, holder, done(), LONG).await.expect("the store answers"));
    let claimed = stores.claim(&key, claim(LONG)).await.expect("the store answers");
    assert_eq!(claimed, Claimed::Done(done()));
}
