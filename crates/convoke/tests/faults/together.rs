//! Everything at once: what is promised holds, and what is not promised is seen to break.
use std::{collections::BTreeSet, time::Duration};

use convoke::SendError;
use convoke_testing::{Faults, TestApp};

use super::service::{Place, World, app};

/// Orders per seed.
const ORDERS: u32 = 12;
/// How often a caller asks again under one key.
const ASKS_MAX: usize = 50;

fn all(seed: u64) -> Faults {
    let faults = Faults::from_seed(seed).duplicate(0.2).drop(0.05).delay(0.2, Duration::from_millis(500));
    faults.reorder(0.2).crash(0.02)
}

/// Asks until the answer is known, as whoever has a key should.
async fn place(app: &TestApp, customer: u32) -> uuid::Uuid {
    for _ in 0..ASKS_MAX {
        let call = app.send(Place { customer }).idempotency_key(format!("order-{customer}"));
        match call.timeout(Duration::from_secs(10)).await {
            Ok(order) => return order,
            Err(SendError::Rejected(_) | SendError::KeyReused | SendError::Invalid(_)) => panic!("not here"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    panic!("no answer for {customer} in {ASKS_MAX} calls");
}

#[tokio::test(start_paused = true)]
async fn under_every_fault_one_key_places_one_order_and_its_event_arrives() {
    let (mut faults, mut deaths, mut repeated) = (0, 0, 0);
    for seed in 0..60 {
        let world = World::default();
        let app = TestApp::of(app(&world)).faults(all(seed)).start().await;
        let mut placed = BTreeSet::new();
        for customer in 0..ORDERS {
            placed.insert(place(&app, customer).await);
        }
        app.settled().await;
        let seen = world.seen();
        assert_eq!(seen.orders.keys().copied().collect::<BTreeSet<_>>(), placed, "seed {seed}");
        assert_eq!(placed.len(), ORDERS as usize);
        assert_eq!(seen.mails.keys().copied().collect::<BTreeSet<_>>(), placed, "seed {seed}");
        assert!(app.dead_letters().is_empty(), "seed {seed}");
        faults += app.faults().len();
        deaths += app.deaths();
        repeated += usize::from(seen.mails.values().any(|mails| *mails > 1));
    }
    println!("60 seeds: {faults} faults, {deaths} deaths, {repeated} runs with a mail sent twice");
    assert!(faults > 1000 && deaths > 60, "{faults} faults and {deaths} deaths are too few to count");
    assert!(repeated > 0, "a mail is sent before its mark: some death lies between");
}
