//! Marks.

use bytes::Bytes;
use convoke_core::{MarkStore, StoreError, StoreErrorKind};
use futures_util::future::join_all;

use super::Fixture;

const TEXT: Bytes = Bytes::from_static(b"up to 17\0\xff");

async fn save(store: &dyn MarkStore, scope: &str, record: Bytes, expected: Option<u64>) -> u64 {
    store
        .save(scope, record, expected)
        .await
        .unwrap_or_else(|error| panic!("{scope} at {expected:?}: {error}"))
}

#[track_caller]
fn assert_conflict(saved: Result<u64, StoreError>) {
    assert_eq!(saved.expect_err("somebody else wrote").kind(), StoreErrorKind::Conflict);
}

pub async fn a_scope_without_a_mark_loads_none(fixture: &Fixture) {
    assert_eq!(fixture.marks().load(&fixture.scope("none")).await.expect("the store answers"), None);
}

pub async fn a_saved_mark_is_loaded_by_every_connection(fixture: &Fixture) {
    let large: Vec<u8> = (0..64 * 1024).map(|at| (at % 251) as u8).collect();
    for (name, record) in [("text", TEXT), ("empty", Bytes::new()), ("large", large.into())] {
        let scope = fixture.scope(name);
        let version = save(fixture.marks(), &scope, record.clone(), None).await;
        for stores in [&fixture.stores, &fixture.second] {
            let loaded = stores.marks.load(&scope).await.expect("the store answers");
            assert!(loaded == Some((record.clone(), version)), "{name} came back otherwise");
        }
    }
}

pub async fn a_mark_is_replaced_at_its_version_only(fixture: &Fixture) {
    let scope = fixture.scope("m");
    let first = save(fixture.marks(), &scope, TEXT, None).await;
    let second = save(&*fixture.second.marks, &scope, "second".into(), Some(first)).await;
    assert_ne!(first, second);
    for stale in [Some(first), Some(second + 1), Some(u64::MAX)] {
        assert_conflict(fixture.marks().save(&scope, "stale".into(), stale).await);
    }
    let third = save(fixture.marks(), &scope, "third".into(), Some(second)).await;
    let loaded = fixture.marks().load(&scope).await.expect("the store answers");
    assert_eq!(loaded, Some(("third".into(), third)));
}

pub async fn a_mark_that_exists_is_not_created_again(fixture: &Fixture) {
    let scope = fixture.scope("m");
    assert_conflict(fixture.marks().save(&scope, TEXT, Some(1)).await);
    let version = save(fixture.marks(), &scope, TEXT, None).await;
    assert_conflict(fixture.second.marks.save(&scope, "again".into(), None).await);
    let loaded = fixture.marks().load(&scope).await.expect("the store answers");
    assert_eq!(loaded, Some((TEXT, version)));
}

pub async fn of_several_writers_of_one_version_one_wins(fixture: &Fixture) {
    let scope = fixture.scope("m");
    let mut version = None;
    for _ in 0..3 {
        let race = (0..20_u8).map(|at| {
            let (store, scope) =
                ([&fixture.stores, &fixture.second][usize::from(at) % 2].marks.clone(), scope.clone());
            tokio::spawn(async move { (at, store.save(&scope, vec![at].into(), version).await) })
        });
        let mut winner = None;
        for saved in join_all(race).await {
            match saved.expect("no task panics") {
                (at, Ok(next)) => assert_eq!(winner.replace((Bytes::from(vec![at]), next)), None, "two won"),
                (_, Err(error)) => assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}"),
            }
        }
        assert!(winner.is_some(), "nobody won");
        assert_eq!(fixture.marks().load(&scope).await.expect("the store answers"), winner);
        version = winner.map(|(_, version)| version);
    }
}

pub async fn marks_of_different_scopes_are_apart(fixture: &Fixture) {
    let scopes = ["a", "A", "a:b", "a.b", "a-b", "a_b", "a:b:c", "a.b.c"].map(|scope| fixture.scope(scope));
    let mut versions = Vec::new();
    for scope in &scopes {
        versions.push(save(fixture.marks(), scope, scope.clone().into(), None).await);
    }
    for (scope, version) in scopes.iter().zip(versions) {
        let loaded = fixture.marks().load(scope).await.expect("the store answers");
        assert_eq!(loaded, Some((Bytes::from(scope.clone()), version)));
    }
}
