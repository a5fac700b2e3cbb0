//! A run holds a lease: what loses it is cancelled, and what comes too late commits nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Command, Context, Holder, InProcess,
    InProcessStores, Outcome, State, StoreError, StoredOutcome, Stores, handler, stores_in_process,
};
use convoke_testing::eventually;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "leases.toil.v1", reply = String, idempotent)]
struct Toil;

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Says when a run was dropped before its end.
struct Unfinished<'a>(&'a Journal, u32);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.note(format!("run {} ended", self.1));
    }
}

#[handler]
async fn toil(_: Toil, cx: &Context, State(journal): State<Journal>) -> Outcome<Toil> {
    journal.note(format!("run {} with fence {}", cx.attempt(), cx.fence().expect("it holds a claim")));
    let _unfinished = Unfinished(&journal, cx.attempt());
    if cx.attempt() == 1 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        journal.note("the first run came to its end");
    }
    Ok(format!("{} of {}", cx.attempt(), cx.id()))
}

/// A store whose renewals can be cut off, and which can lose its next answer to a completion.
#[derive(Default)]
struct Cut {
    inner: InProcessStores,
    renewals: AtomicBool,
    loses_completion: AtomicBool,
}

impl ClaimStore for Cut {
    fn name(&self) -> &'static str {
        "cut"
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        self.inner.claim(key, claim)
    }
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        if self.renewals.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::unavailable("cut off")) });
        }
        self.inner.renew(key, holder, lease)
    }
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let completed = self.inner.complete(key, holder, outcome, retention);
        if !self.loses_completion.swap(false, Ordering::SeqCst) {
            return completed;
        }
        Box::pin(async {
            completed.await?;
            Err(StoreError::unavailable("the answer was lost"))
        })
    }
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.release(key, holder)
    }
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        self.inner.changed(key, wait)
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.ping()
    }
}

async fn send(store: &Arc<Cut>, journal: &Journal) -> Result<String, String> {
    let stores = Stores { claims: store.clone(), ..stores_in_process() };
    let app = App::new("leases").node("n1").transport(InProcess::new()).stores(stores).state(journal.clone());
    let node = app.discover().start().await.unwrap();
    let call = node.mediator().send(Toil).idempotency_key("k").timeout(Duration::from_secs(60)).await;
    call.map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_as_long_as_the_run_takes() {
    let (store, journal) = (Arc::new(Cut::default()), Journal::default());
    let reply = send(&store, &journal).await.unwrap();
    assert!(reply.starts_with("1 of"), "{reply}");
    assert_eq!(journal.lines()[1], "the first run came to its end");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_stored_again_when_the_answer_of_the_store_was_lost() {
    let (store, journal) = (Arc::new(Cut::default()), Journal::default());
    store.loses_completion.store(true, Ordering::SeqCst);
    let reply = send(&store, &journal).await.unwrap();
    assert!(reply.starts_with("1 of"), "{reply}");
    assert!(!store.loses_completion.load(Ordering::SeqCst), "it lost one answer");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_loses_its_lease_is_cancelled_and_the_next_has_a_higher_fence() {
    let (store, journal) = (Arc::new(Cut::default()), Journal::default());
    let cut = async {
        eventually("the first run begins", || async { journal.lines().len() == 1 }).await;
        store.renewals.store(true, Ordering::SeqCst);
    };
    let (reply, ()) = tokio::join!(send(&store, &journal), cut);
    assert!(reply.unwrap().starts_with("2 of"), "the second run's outcome is the outcome");
    let expected = ["run 1 with fence 1", "run 1 ended", "run 2 with fence 2", "run 2 ended"];
    assert_eq!(journal.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_completion_stores_nothing() {
    let store = InProcessStores::default();
    let key = ClaimKey { scope: "s".to_owned(), key: "k".to_owned() };
    let claim = || Claim {
        owner: uuid::Uuid::now_v7(),
        message_id: uuid::Uuid::now_v7(),
        fingerprint: 1,
        lease: Duration::from_secs(1),
    };
    let (slow, quick) = (claim(), claim());
    let Claimed::Owned { fence, .. } = store.claim(&key, slow).await.unwrap() else { panic!("it is free") };
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(matches!(store.claim(&key, quick).await.unwrap(), Claimed::Owned { attempt: 2, .. }));
    let outcome = StoredOutcome { rejected: false, answer: bytes::Bytes::from_static(b"late") };
    let late = Holder { owner: slow.owner, fence };
    assert!(!store.complete(&key, late, outcome, Duration::from_secs(9)).await.unwrap());
    assert!(matches!(store.claim(&key, claim()).await.unwrap(), Claimed::Busy { .. }));
}
