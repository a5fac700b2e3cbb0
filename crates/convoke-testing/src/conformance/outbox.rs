//! The promises of [`OutboxStore`], for stores that have one.
//!
//! ```
//! use convoke_testing::conformance::stores::Fixture;
//!
//! async fn fixture(_test: &str) -> Option<Fixture> {
//!     let stores = my_stores().await;
//!     Some(Fixture::new(stores.clone(), stores))
//! }
//!
//! mod keeps_the_promises_of_an_outbox {
//!     convoke_testing::conformance::outbox!(super::fixture);
//! }
//! # async fn my_stores() -> convoke_core::Stores { unimplemented!() }
//! # fn main() {}
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::{
    Batch, ClaimKey, Commit, Committed, Hold, Holder, Outbox, OutboxStore, Record, Row, Settle, Stored,
    StoredOutcome, Stores, Taken, Turn,
};
use uuid::Uuid;

use super::stores::Fixture;

#[doc(hidden)]
pub mod commits;
#[doc(hidden)]
pub mod relaying;

/// How long outcomes are kept.
const RETENTION: Duration = Duration::from_secs(600);
/// A lease that outlives the test.
const LONG: Duration = Duration::from_secs(60);
/// A lease that runs out during the test.
const SHORT: Duration = Duration::from_millis(400);

/// One relay and its way to the store.
struct Relay {
    store: Arc<dyn OutboxStore>,
    outbox: Outbox,
}

impl Relay {
    /// A relay of the service that this fixture's test has for itself.
    fn new(fixture: &Fixture, stores: &Stores, lease: Duration) -> Self {
        let store = stores.outbox.clone().expect("these stores have an outbox");
        let scope = fixture.scope("outbox");
        let outbox = Outbox { scope, relay: Uuid::now_v7(), lease, rows_max: 1000, batch_max: 10 };
        Self { store, outbox }
    }

    fn first(fixture: &Fixture, lease: Duration) -> Self {
        Self::new(fixture, &fixture.stores, lease)
    }

    fn second(fixture: &Fixture, lease: Duration) -> Self {
        Self::new(fixture, &fixture.second, lease)
    }

    async fn commit(&self, record: Record<'_>, rows: &[Row]) -> Committed {
        let commit = Commit { record, rows, writes: &[] };
        self.store.commit(&self.outbox, commit).await.expect("the store answers")
    }

    /// Records rows by themselves.
    async fn append(&self, near: &str, rows: &[Row]) -> Stored {
        stored(self.commit(Record::Alone { call: Uuid::now_v7(), near }, rows).await)
    }

    async fn take(&self, slot: u16) -> Taken {
        self.store.take(&self.outbox, slot).await.expect("the store answers")
    }

    async fn settle(&self, slot: u16, fence: u64, places: &[String]) -> Taken {
        let rows: Vec<_> = places.iter().map(|place| Settle { place: place.clone(), parked: None }).collect();
        self.store.settle(&self.outbox, Hold { slot, fence }, &rows).await.expect("the store answers")
    }
}

#[track_caller]
fn stored(committed: Committed) -> Stored {
    match committed {
        Committed::Stored(stored) => stored,
        other => panic!("it should be recorded and is {other:?}"),
    }
}

/// The fence and places of rows that the committing relay publishes at once.
#[track_caller]
fn yours(stored: &Stored) -> (u64, Vec<String>) {
    match &stored.turn {
        Turn::Yours { fence, places } => (*fence, places.clone()),
        other => panic!("the slot should be free and is {other:?}"),
    }
}

#[track_caller]
fn batch(taken: Taken) -> Batch {
    taken.batch.clone().unwrap_or_else(|| panic!("there should be rows: {taken:?}"))
}

fn rows_in(batch: &Batch) -> Vec<Row> {
    batch.rows.iter().map(|(_, row)| row.clone()).collect()
}

fn places_in(batch: &Batch) -> Vec<String> {
    batch.rows.iter().map(|(place, _)| place.clone()).collect()
}

fn row(text: &str) -> Row {
    Row { id: Uuid::now_v7(), bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|at| row(&at.to_string())).collect()
}

fn replied(answer: &'static str) -> StoredOutcome {
    StoredOutcome { rejected: false, answer: answer.into() }
}

fn ending<'a>(key: &'a ClaimKey, holder: Holder, outcome: &'a StoredOutcome) -> Record<'a> {
    Record::Claim { key, holder, outcome, retention: RETENTION }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_outbox {
    ($fixture:path) => {
        $crate::__conformance_outbox! { @each $fixture;
            commits {
                an_outcome_and_its_rows_are_recorded_in_one_step
                a_fenced_commit_records_nothing
                a_repeated_commit_records_its_rows_once
                marks_and_their_rows_are_recorded_in_one_step
                marks_of_another_version_are_a_conflict_and_nothing_is_recorded
                rows_by_themselves_are_recorded_once_per_call
                a_slot_that_is_full_records_nothing
                a_row_comes_back_as_it_was
                of_many_who_complete_one_claim_one_records_its_rows
                writes_of_an_unknown_type_are_refused
            }
            relaying {
                rows_of_a_slot_are_taken_in_the_order_of_their_commits
                a_slot_that_is_held_is_left_to_its_holder
                a_slot_is_free_when_its_last_row_is_settled
                a_slot_that_was_given_back_is_taken_at_once
                a_relay_that_is_silent_loses_its_slot_and_what_it_settles_late_stays
                a_repeated_settle_changes_nothing
                what_the_broker_never_takes_is_put_aside
                rows_of_other_services_are_apart
                a_busy_slot_is_answered_in_batches
            }
        }
    };
    (@each $fixture:path; $($topic:ident { $($promise:ident)* })*) => { $($(
        #[::tokio::test]
        async fn $promise() {
            if let ::core::option::Option::Some(fixture) = $fixture(::core::stringify!($promise)).await {
                $crate::conformance::outbox::$topic::$promise(&fixture).await;
            }
        }
    )*)* };
}
