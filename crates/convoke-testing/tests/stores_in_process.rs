//! The promises every store keeps, in one process.

use convoke_testing::conformance::stores::Fixture;

async fn in_process(_test: &str) -> Option<Fixture> {
    let stores = convoke_core::stores_in_process();
    Some(Fixture::new(stores.clone(), stores))
}

convoke_testing::conformance::stores!(in_process);

async fn with_outbox(_test: &str) -> Option<Fixture> {
    let stores = convoke_core::Stores::with_outbox(convoke_core::InProcessStores::default());
    Some(Fixture::new(stores.clone(), stores))
}

mod outbox {
    convoke_testing::conformance::outbox!(super::with_outbox);
}
