use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convoke_testing::eventually;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::{RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::SnapshotResponse;
use tokio::time::{Instant, timeout};

use super::kit::{Made, PIECE, Pair, heartbeat_ttl, log_id, member, pair, vote};
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;
use crate::engine::net::link::LinkError;
use crate::engine::net::snapshot::{Begin, CHUNKS_IN_FLIGHT_MAX, Chunk};
use crate::engine::types::Types;

const BYTES: usize = 16 * 1024 * 1024 + 7;

fn meta() -> SnapshotMetaOf<Types> {
    SnapshotMetaOf::<Types> { last_log_id: Some(log_id(1, 77)), last_membership: Default::default() }
}

fn parcel(bytes: usize) -> (SnapshotOf<Types, Made>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let snapshot = Made { bytes: bytes as u64, made: Arc::clone(&made), short_by: 0 };
    (SnapshotOf::<Types, Made> { meta: meta(), snapshot }, made)
}

async fn send(
    pair: &Pair,
    snapshot: SnapshotOf<Types, Made>,
) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
    let mut client = pair.one.factory::<Made>().new_snapshot_client(2, &member("two")).await;
    client.full_snapshot(vote(1, 1), snapshot, std::future::pending(), heartbeat_ttl()).await
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_arrives_whole_and_is_installed() {
    let pair = pair();
    let (snapshot, _) = parcel(BYTES);
    let installed = send(&pair, snapshot).await.expect("installed");
    assert_eq!(installed.vote, vote(1, 1));
    assert_eq!(pair.fake.received.lock().expect("free").len(), BYTES);
    assert_eq!(pair.fake.installed.load(Ordering::SeqCst), 1);
    assert_eq!(pair.fake.arriving.load(Ordering::SeqCst), 0);
    let (empty, _) = parcel(0);
    send(&pair, empty).await.expect("installed");
}

#[tokio::test(start_paused = true)]
async fn only_a_few_pieces_of_a_snapshot_are_in_memory_whatever_its_size() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let (snapshot, made) = parcel(BYTES);
    let sending = send(&pair, snapshot);
    tokio::pin!(sending);
    assert!(timeout(Duration::from_secs(1), &mut sending).await.is_err(), "nothing is stored");
    let held = made.load(Ordering::SeqCst);
    assert!(held <= (CHUNKS_IN_FLIGHT_MAX + 1) * PIECE, "{held} bytes were read ahead");
    pair.fake.answers.send_replace(true);
    sending.await.expect("installed");
    assert_eq!(pair.fake.received.lock().expect("free").len(), BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_cut_leaves_nothing_and_the_next_try_is_whole() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let (snapshot, _) = parcel(BYTES);
    let sending = send(&pair, snapshot);
    tokio::pin!(sending);
    assert!(timeout(Duration::from_secs(1), &mut sending).await.is_err(), "under way");
    assert_eq!(pair.fake.arriving.load(Ordering::SeqCst), 1);
    pair.listening.abort();
    let cut = sending.await;
    assert!(matches!(cut, Err(StreamingError::Unreachable(_))), "{cut:?}");
    assert_eq!(pair.fake.arriving.load(Ordering::SeqCst), 0);

    pair.fake.answers.send_replace(true);
    let _listening = pair.pipes.serve("two", pair.server.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (snapshot, _) = parcel(BYTES);
    send(&pair, snapshot).await.expect("installed");
    assert_eq!(pair.fake.received.lock().expect("free").len(), BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stops_is_given_up_after_a_bounded_time() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let begun = Instant::now();
    let (snapshot, _) = parcel(BYTES);
    let stopped = send(&pair, snapshot).await;
    assert!(matches!(stopped, Err(StreamingError::Unreachable(_))), "{stopped:?}");
    assert_eq!(begun.elapsed(), crate::engine::net::Timing::default().stall);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_sender_no_longer_leads_leaves_nothing() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let (snapshot, _) = parcel(BYTES);
    let mut client = pair.one.factory::<Made>().new_snapshot_client(2, &member("two")).await;
    let stepped_down = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ReplicationClosed::new("a test")
    };
    let closed = client.full_snapshot(vote(1, 1), snapshot, stepped_down, heartbeat_ttl()).await;
    assert!(matches!(closed, Err(StreamingError::Closed(_))), "{closed:?}");
    // Its disk is quick again, and nothing else ever comes.
    pair.fake.answers.send_replace(true);
    eventually("the receiver holds nothing", || async { pair.fake.arriving.load(Ordering::SeqCst) == 0 })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_shorter_than_it_says_is_not_installed() {
    let pair = pair();
    let (mut snapshot, _) = parcel(BYTES);
    snapshot.snapshot.short_by = 1;
    let short = send(&pair, snapshot).await;
    assert!(matches!(short, Err(StreamingError::StorageError(_))), "{short:?}");
    assert_eq!(pair.fake.installed.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_piece_in_the_wrong_place_ends_a_transfer() {
    let pair = pair();
    let link = pair.one.peers.dial(Some(2), "two", Lane::Snapshot).link().await.expect("a connection");
    let mut session = link.open(8).expect("open");
    session
        .send(Kind::SnapshotBegin, &Begin { vote: vote(1, 1), meta: meta(), bytes: 100 })
        .await
        .expect("sent");
    assert_eq!(session.answer().await.expect("begun").read::<u64>(), Ok(0));
    let data = bytes::Bytes::from_static(&[1; 10]);
    session.send(Kind::SnapshotChunk, &Chunk { offset: 0, data: data.clone() }).await.expect("sent");
    assert_eq!(session.answer().await.expect("stored").read::<u64>(), Ok(10));
    session.send(Kind::SnapshotChunk, &Chunk { offset: 11, data }).await.expect("sent");
    let refused = session.answer().await;
    assert!(matches!(refused, Err(LinkError::Failed(_))), "{refused:?}");
    assert_eq!(pair.fake.arriving.load(Ordering::SeqCst), 0);
}
