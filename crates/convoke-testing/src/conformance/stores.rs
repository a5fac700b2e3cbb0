//! The promises of [`ClaimStore`] and [`MarkStore`].
//!
//! ```
//! use convoke_testing::conformance::stores::Fixture;
//!
//! async fn fixture(_test: &str) -> Option<Fixture> {
//!     let stores = my_stores().await;
//!     Some(Fixture::new(stores.clone(), stores))
//! }
//!
//! mod keeps_the_promises {
//!     convoke_testing::conformance::stores!(super::fixture);
//! }
//! # async fn my_stores() -> convoke_core::Stores { unimplemented!() }
//! # fn main() {}
//! ```
//!
//! A fixture that starts a server may answer `None` after saying that the test it is told is skipped.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::{Claim, ClaimKey, ClaimStore, Claimed, Holder, MarkStore, StoredOutcome, Stores};
use uuid::Uuid;

#[doc(hidden)]
pub mod claims;
#[doc(hidden)]
pub mod leases;
#[doc(hidden)]
pub mod marks;
#[doc(hidden)]
pub mod waiting;

/// A lease that outlives the test.
const LONG: Duration = Duration::from_secs(60);
/// A lease that runs out during the test.
const SHORT: Duration = Duration::from_millis(400);
/// How long outcomes are kept when the test does not look at that.
const RETENTION: Duration = Duration::from_secs(600);

/// Two connections to one store.
pub struct Fixture {
    /// What a node uses.
    pub stores: Stores,
    /// The same store as another node sees it.
    pub second: Stores,
    scope: String,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// Two handles on the same store; for a store of one process, the same handle twice.
    #[must_use]
    pub fn new(stores: Stores, second: Stores) -> Self {
        Self { stores, second, scope: format!("conformance:{}", Uuid::now_v7()), kept: None }
    }

    /// Keeps a value, such as the server, until the test has ended.
    #[must_use]
    pub fn keeping<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.kept = Some(Box::new(value));
        self
    }

    pub(crate) fn claims(&self) -> &dyn ClaimStore {
        &*self.stores.claims
    }

    pub(crate) fn other_claims(&self) -> Arc<dyn ClaimStore> {
        Arc::clone(&self.second.claims)
    }

    pub(crate) fn marks(&self) -> &dyn MarkStore {
        &*self.stores.marks
    }

    /// A key of this test's own.
    pub(crate) fn key(&self, key: &str) -> ClaimKey {
        ClaimKey { scope: self.scope.clone(), key: key.into() }
    }

    pub(crate) fn scope(&self, scope: &str) -> String {
        format!("{}:{scope}", self.scope)
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("stores", &self.stores).finish_non_exhaustive()
    }
}

/// A claim of a new owner for a payload all of these share.
pub(crate) fn claim(lease: Duration) -> Claim {
    Claim { owner: Uuid::now_v7(), message_id: Uuid::now_v7(), fingerprint: 7 << 100 | 9, lease }
}

fn replied(answer: impl Into<Bytes>) -> StoredOutcome {
    StoredOutcome { rejected: false, answer: answer.into() }
}

/// What an owned claim answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) holder: Holder,
    message_id: Uuid,
    attempt: u32,
}

/// Claims, and expects to own.
pub(crate) async fn own(store: &dyn ClaimStore, key: &ClaimKey, claim: Claim) -> Owned {
    owned(claim, store.claim(key, claim).await.expect("the store answers"))
        .unwrap_or_else(|claimed| panic!("{key:?} should be free and is {claimed:?}"))
}

fn owned(claim: Claim, claimed: Claimed) -> Result<Owned, Claimed> {
    match claimed {
        Claimed::Owned { fence, message_id, attempt } => {
            Ok(Owned { holder: Holder { owner: claim.owner, fence }, message_id, attempt })
        }
        other => Err(other),
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_stores {
    ($fixture:path) => {
        $crate::__conformance_stores! { @each $fixture;
            claims {
                the_first_claim_owns_with_a_fence_as_attempt_one
                a_repeated_claim_of_the_owner_is_answered_as_the_first_one
                another_owner_is_told_busy_and_for_how_long
                another_payload_is_a_mismatch_while_it_runs_and_when_it_is_done
                a_completed_key_answers_its_reply_or_its_refusal
                an_answer_may_be_empty_and_as_large_as_the_limit
                an_answer_above_the_limit_is_refused_and_nothing_is_stored
                a_repeated_complete_of_the_owner_is_true
                a_released_key_is_claimed_at_once_with_a_higher_fence
                one_of_fifty_owners_at_once_gets_the_key
                keys_and_scopes_of_any_spelling_are_told_apart
                a_store_that_is_up_answers_a_ping
            }
            leases {
                an_expired_lease_lets_another_own_under_the_first_message_id
                a_fenced_holder_changes_nothing
                a_holder_with_another_fence_than_the_latest_changes_nothing
                a_renewed_lease_holds_longer
                a_completed_or_released_claim_cannot_be_renewed
                fences_grow_over_the_expiry_of_a_record
            }
            waiting {
                a_waiter_returns_when_another_connection_completes
                a_waiter_returns_when_another_connection_releases
                a_waiter_returns_when_the_lease_runs_out
                a_change_before_the_wait_is_not_missed
                a_waiter_returns_at_its_deadline
            }
            marks {
                a_scope_without_a_mark_loads_none
                a_saved_mark_is_loaded_by_every_connection
                a_mark_is_replaced_at_its_version_only
                a_mark_that_exists_is_not_created_again
                of_several_writers_of_one_version_one_wins
                marks_of_different_scopes_are_apart
            }
        }
    };
    (@each $fixture:path; $($topic:ident { $($promise:ident)* })*) => { $($(
        #[::tokio::test]
        async fn $promise() {
            if let ::core::option::Option::Some(fixture) = $fixture(::core::stringify!($promise)).await {
                $crate::conformance::stores::$topic::$promise(&fixture).await;
            }
        }
    )*)* };
}
