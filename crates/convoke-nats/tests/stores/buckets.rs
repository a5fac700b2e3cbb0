//! What is in the buckets, and who declares them.

use std::time::Duration;

use async_nats::jetstream::{Context, kv, message::StreamMessage};
use convoke_core::{ClaimStore, Claimed, Holder, MarkStore, StoreErrorKind, StoredOutcome};
use convoke_nats::{Config, MARK_BYTES_MAX, Stores, StoresConfig, Transport, async_nats};
use convoke_testing::{eventually, servers::NatsServer};

use crate::support::{LONG, claim, connect, done, jetstream, key, own, works};

const NAME: &str = "it.aw"; // the key `k` of the scope `it`
const DAY: &str = "86400";

async fn stores(test: &str) -> Option<(NatsServer, Stores, Context)> {
    let server = NatsServer::start_or_skip(test).await?;
    let stores = connect(server.url(), StoresConfig::default()).await;
    stores.ping().await.expect("the store answers");
    let jetstream = jetstream(&server).await;
    Some((server, stores, jetstream))
}

async fn bucket(jetstream: &Context, bucket: &str) -> kv::Store {
    jetstream.get_key_value(bucket).await.expect("the bucket is there")
}

async fn latest(jetstream: &Context) -> StreamMessage {
    let claims = bucket(jetstream, "CONVOKE_CLAIMS").await;
    let subject = format!("$KV.CONVOKE_CLAIMS.{NAME}");
    claims.stream.get_last_raw_message_by_subject(&subject).await.expect("it is there")
}

fn ttl(message: &StreamMessage) -> Option<&str> {
    message.headers.get("Nats-TTL").map(|value| value.as_str())
}

#[tokio::test]
async fn a_claim_over_a_delete_marker_keeps_its_time_to_live() {
    let test = "a_claim_over_a_delete_marker_keeps_its_time_to_live";
    let Some((_server, stores, jetstream)) = stores(test).await else { return };
    let claims = bucket(&jetstream, "CONVOKE_CLAIMS").await;

    // what the client's own call does, which is why we do not use it
    claims.delete(NAME).await.expect("deleted");
    claims.create_with_ttl(NAME, "x".into(), Duration::from_secs(86_400)).await.expect("created");
    assert_eq!(ttl(&latest(&jetstream).await), None, "the client keeps it now: its `kv` could be used");

    claims.delete(NAME).await.expect("deleted");
    let marker = latest(&jetstream).await;
    assert!(marker.headers.get("KV-Operation").is_some(), "there is no marker to write over");
    let holder = own(&stores, &key("k"), LONG).await;
    let written = latest(&jetstream).await;
    assert_eq!((ttl(&written), written.sequence), (Some(DAY), holder.fence));
    assert!(holder.fence > marker.sequence);

    let retention = Duration::from_secs(1);
    assert!(stores.complete(&key("k"), holder, done(), retention).await.expect("the store answers"));
    assert_eq!(ttl(&latest(&jetstream).await), Some("1"));
    is_gone(&stores, holder).await;
}

/// The record expires, and the next claim is the first of a new one.
async fn is_gone(stores: &Stores, before: Holder) {
    let claimed = eventually("the record expired", async || {
        match stores.claim(&key("k"), claim(LONG)).await.expect("the store answers") {
            Claimed::Done(_) => None,
            claimed => Some(claimed),
        }
    })
    .await;
    let Claimed::Owned { fence, attempt: 1, .. } = claimed else { panic!("{claimed:?}") };
    assert!(fence > before.fence);
}

#[tokio::test]
async fn a_renewal_a_release_and_a_takeover_keep_a_time_to_live() {
    let test = "a_renewal_a_release_and_a_takeover_keep_a_time_to_live";
    let Some((_server, stores, jetstream)) = stores(test).await else { return };
    let key = key("k");
    let holder = own(&stores, &key, LONG).await;
    assert_eq!(ttl(&latest(&jetstream).await), Some(DAY));
    assert!(stores.renew(&key, holder, LONG).await.expect("the store answers"));
    let renewed = latest(&jetstream).await;
    assert_eq!(ttl(&renewed), Some(DAY));
    assert!(renewed.sequence > holder.fence, "it is another revision");

    // ten leases are longer than a day
    let lease = Duration::from_secs(86_400);
    assert!(stores.renew(&key, holder, lease).await.expect("the store answers"));
    assert_eq!(ttl(&latest(&jetstream).await), Some("864000"));
    stores.release(&key, holder).await.expect("the store answers");
    assert_eq!(ttl(&latest(&jetstream).await), Some(DAY));

    let second = own(&stores, &key, LONG).await;
    assert_eq!(ttl(&latest(&jetstream).await), Some(DAY));
    let retention = Duration::from_millis(2001);
    assert!(stores.complete(&key, second, done(), retention).await.expect("the store answers"));
    assert_eq!(ttl(&latest(&jetstream).await), Some("3"), "whole seconds, rounded up");
}

#[tokio::test]
async fn a_bucket_that_differs_is_refused_and_left_as_it_is() {
    let test = "a_bucket_that_differs_is_refused_and_left_as_it_is";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let first = connect(server.url(), StoresConfig::default()).await;
    works(&first, "k1").await;
    first.save("m", "mark".into(), None).await.expect("the store answers");

    let other = StoresConfig::default().claims_bytes_max(1 << 20).marks_bytes_max(1 << 20);
    let second = connect(server.url(), other).await;
    let claims = second.claim(&key("k2"), claim(LONG)).await.expect_err("it differs");
    let marks = second.load("m").await.expect_err("it differs");
    for error in [claims, marks] {
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert!(error.to_string().contains("max_bytes is "), "{error}");
    }
    works(&first, "k2").await;
    let third = connect(server.url(), StoresConfig::default()).await;
    works(&third, "k3").await;
}

#[tokio::test]
async fn each_namespace_has_buckets_of_its_own() {
    let test = "each_namespace_has_buckets_of_its_own";
    let Some((server, stores, jetstream)) = stores(test).await else { return };
    let other = connect(server.url(), StoresConfig::new("other")).await;
    own(&stores, &key("k"), LONG).await;
    own(&other, &key("k"), LONG).await;
    other.save("m", "x".into(), None).await.expect("the store answers");
    assert_eq!(stores.load("m").await.expect("the store answers"), None);
    for name in ["CONVOKE_CLAIMS", "CONVOKE_MARKS", "OTHER_CLAIMS", "OTHER_MARKS"] {
        bucket(&jetstream, name).await;
    }
}

#[tokio::test]
async fn a_bucket_that_was_deleted_is_declared_again() {
    let test = "a_bucket_that_was_deleted_is_declared_again";
    let Some((_server, stores, jetstream)) = stores(test).await else { return };
    works(&stores, "before").await;
    jetstream.delete_stream("KV_CONVOKE_CLAIMS").await.expect("deleted");
    works(&stores, "after a write").await;
    jetstream.delete_stream("KV_CONVOKE_CLAIMS").await.expect("deleted");
    stores.ping().await.expect("the store answers");
}

#[tokio::test]
async fn a_mark_is_saved_over_what_is_left_of_a_deleted_one() {
    let test = "a_mark_is_saved_over_what_is_left_of_a_deleted_one";
    let Some((_server, stores, jetstream)) = stores(test).await else { return };
    let first = stores.save("it:n1", "first".into(), None).await.expect("the store answers");
    bucket(&jetstream, "CONVOKE_MARKS").await.delete("it/n1").await.expect("deleted");
    assert_eq!(stores.load("it:n1").await.expect("the store answers"), None);
    let stale = stores.save("it:n1", "second".into(), Some(first)).await.expect_err("it is gone");
    assert_eq!(stale.kind(), StoreErrorKind::Conflict);
    let second = stores.save("it:n1", "second".into(), None).await.expect("the store answers");
    let loaded = stores.load("it:n1").await.expect("the store answers");
    assert_eq!(loaded, Some(("second".into(), second)));
}

#[tokio::test]
async fn a_repeated_save_is_answered_as_the_first_and_that_of_another_process_is_not() {
    let test = "a_repeated_save_is_answered_as_the_first_and_that_of_another_process_is_not";
    let Some((server, stores, _)) = stores(test).await else { return };
    let other = connect(server.url(), StoresConfig::default()).await;
    let first = stores.save("m", "same".into(), None).await.expect("the store answers");
    assert_eq!(stores.save("m", "same".into(), None).await.expect("the store answers"), first);
    let error = other.save("m", "same".into(), None).await.expect_err("it did not write that");
    assert_eq!(error.kind(), StoreErrorKind::Conflict);
    for version in [Some(0), Some(u64::MAX), Some(1 << 63)] {
        let error = stores.save("m", "x".into(), version).await.expect_err("no such version");
        assert_eq!(error.kind(), StoreErrorKind::Conflict, "{version:?}");
    }
}

#[tokio::test]
async fn the_largest_mark_is_stored_and_a_larger_one_refused() {
    let test = "the_largest_mark_is_stored_and_a_larger_one_refused";
    let Some((_server, stores, _)) = stores(test).await else { return };
    let version = stores.save("m", vec![7; MARK_BYTES_MAX].into(), None).await.expect("the store answers");
    let larger = stores.save("m", vec![7; MARK_BYTES_MAX + 1].into(), Some(version)).await;
    assert_eq!(larger.expect_err("too large").kind(), StoreErrorKind::Refused);
    let loaded = stores.load("m").await.expect("the store answers");
    assert!(loaded == Some((vec![7; MARK_BYTES_MAX].into(), version)));
}

#[tokio::test]
async fn a_full_bucket_takes_no_more_and_loses_nothing() {
    let test = "a_full_bucket_takes_no_more_and_loses_nothing";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let config = StoresConfig::default().claims_bytes_max(1 << 20).timeout(Duration::from_secs(1));
    let stores = connect(server.url(), config).await;
    let outcome = StoredOutcome { rejected: false, answer: vec![1; StoredOutcome::BYTES_MAX].into() };
    let mut full = None;
    for at in 0..5 {
        let key = key(&at.to_string());
        let holder = own(&stores, &key, LONG).await;
        if let Err(error) = stores.complete(&key, holder, outcome.clone(), LONG).await {
            full = Some((at, error));
            break;
        }
    }
    let (at, error) = full.expect("five quarters do not fit");
    assert!(error.to_string().contains("maximum bytes"), "{error}");
    for before in 0..at {
        let claimed = stores.claim(&key(&before.to_string()), claim(LONG)).await.expect("the store answers");
        assert!(claimed == Claimed::Done(outcome.clone()), "the outcome of {before} is gone");
    }
}

#[tokio::test]
async fn a_transport_lends_its_connection() {
    let test = "a_transport_lends_its_connection";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let transport = Transport::connect_with(Config::new(server.url())).await.expect("it connects");
    works(&transport.stores(), "k").await;
    assert_eq!(transport.calls_waiting(), 0);
    assert!(transport.stores_with(StoresConfig::new("a.b")).is_err());
}
