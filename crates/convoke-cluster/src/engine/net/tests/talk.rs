use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convoke_testing::eventually;
use futures_util::{StreamExt, stream};
use openraft::errors::RPCError;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesResponse, StreamAppendError, VoteRequest};
use tokio::time::{Instant, timeout};

use super::kit::{Made, append, heartbeat_ttl, log_id, member, pair, vote};
use crate::engine::net::kind::Kind;

fn election_ttl() -> RPCOption {
    RPCOption::new(Duration::from_millis(250))
}

#[tokio::test(start_paused = true)]
async fn a_vote_is_asked_for_and_given() {
    let pair = pair();
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let request = VoteRequest::new(vote(3, 1), Some(log_id(2, 7)));
    let answer = client.vote(request.clone(), election_ttl()).await.expect("answered");
    assert!(answer.vote_granted);
    assert_eq!((answer.vote, answer.last_log_id), (request.vote, request.last_log_id));
    assert!(!client.pre_vote(request, election_ttl()).await.expect("answered").vote_granted);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_votes_share_one_connection_that_is_made_once() {
    let pair = pair();
    let mut factory = pair.one.factory::<Made>();
    let mut heartbeats = factory.new_heartbeat_client(2, &member("two")).await;
    for _ in 0..100 {
        let answers = heartbeats.stream_append(stream::iter([append(0, 0, 0)]), heartbeat_ttl()).await;
        let answers: Vec<_> = answers.expect("a connection").collect().await;
        assert!(matches!(answers[..], [Ok(Ok(None))]), "{answers:?}");
    }
    for _ in 0..10 {
        let mut client = factory.new_client(2, &member("two")).await;
        let request = VoteRequest::new(vote(3, 1), None);
        client.vote(request, election_ttl()).await.expect("answered");
    }
    assert_eq!(pair.one.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_none_and_keeps_its_connection() {
    let pair = pair();
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    for session in 0..50 {
        let first = session * 30;
        let requests: Vec<_> = (0..10).map(|n| append(first + n * 3, first + n * 3 + 3, 100)).collect();
        let answers = client.stream_append(stream::iter(requests), heartbeat_ttl()).await;
        let answers: Vec<_> =
            answers.expect("a connection").map(|answer| answer.expect("no error")).collect().await;
        let expected: Vec<_> = (0..10).map(|n| Ok(Some(log_id(1, first + n * 3 + 2)))).collect();
        assert_eq!(answers, expected, "in order");
    }
    assert_eq!(pair.fake.indexes(), (0..1500).collect::<Vec<_>>());
    assert_eq!(pair.one.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_ends_a_session_and_the_next_one_goes_on() {
    let pair = pair();
    *pair.fake.conflict_at.lock().expect("free") = Some(6);
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let requests: Vec<_> = (0..10).map(|n| append(n * 3, n * 3 + 3, 10)).collect();
    let answers = client.stream_append(stream::iter(requests), heartbeat_ttl()).await;
    let answers: Vec<_> =
        answers.expect("a connection").map(|answer| answer.expect("no error")).collect().await;
    let conflict = Err(StreamAppendError::Conflict(log_id(1, 6)));
    assert_eq!(answers, [Ok(Some(log_id(1, 2))), Ok(Some(log_id(1, 5))), conflict]);

    *pair.fake.conflict_at.lock().expect("free") = None;
    let answers = client.stream_append(stream::iter([append(6, 9, 10)]), heartbeat_ttl()).await;
    let answers: Vec<_> =
        answers.expect("a connection").map(|answer| answer.expect("no error")).collect().await;
    assert_eq!(answers, [Ok(Some(log_id(1, 8)))]);
    assert_eq!(pair.fake.indexes(), (0..9).collect::<Vec<_>>());
    assert_eq!(pair.one.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_never_taken_for_that_to_a_later_append_which_ends_at_the_same_entry() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let requests = [append(0, 3, 10), append(3, 3, 10), append(3, 3, 10), append(3, 6, 10)];
    let mut answers =
        client.stream_append(stream::iter(requests), heartbeat_ttl()).await.expect("a connection");
    timeout(Duration::from_millis(100), answers.next())
        .await
        .expect_err("all are sent, and none is answered");
    pair.fake.answers.send_replace(true);
    let answers: Vec<_> = answers.map(|answer| answer.expect("no error")).collect().await;
    // The first is the answer to the third append: it was sent last of those that end there.
    assert_eq!(answers, [Ok(Some(log_id(1, 2))), Ok(Some(log_id(1, 5)))]);
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_too_many_for_a_frame_are_sent_in_parts() {
    let pair = pair();
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let command_bytes = 1024 * 1024;
    let entries = 3 * Kind::Append.body_bytes_max() / command_bytes;
    let request = append(0, entries as u64, command_bytes);
    let answers = client.stream_append(stream::iter([request]), heartbeat_ttl()).await;
    let answers: Vec<_> =
        answers.expect("a connection").map(|answer| answer.expect("no error")).collect().await;
    assert!(answers.len() > 2, "in parts");
    assert_eq!(answers.last(), Some(&Ok(Some(log_id(1, entries as u64 - 1)))));
    assert_eq!(pair.fake.indexes(), (0..entries as u64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_appends_are_on_their_way_than_the_limit() {
    use crate::engine::net::append::APPENDS_IN_FLIGHT_MAX;
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let requests = stream::iter((0_u64..1000).map(move |n| {
        counted.fetch_add(1, Ordering::SeqCst);
        append(n, n + 1, 10)
    }));
    let answers = client.stream_append(requests, heartbeat_ttl()).await.expect("a connection");
    timeout(Duration::from_secs(1), answers.count()).await.expect_err("none is answered");
    assert_eq!(taken.load(Ordering::SeqCst), APPENDS_IN_FLIGHT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_answering_is_unreachable_after_a_bounded_time() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let begun = Instant::now();
    let answers = client.stream_append(stream::iter([append(0, 3, 10)]), heartbeat_ttl()).await;
    let answers: Vec<_> = answers.expect("a connection").collect().await;
    assert!(matches!(answers[..], [Err(RPCError::Unreachable(_))]), "{answers:?}");
    assert_eq!(begun.elapsed(), crate::engine::net::Timing::default().answer);

    let begun = Instant::now();
    let vote = client.vote(VoteRequest::new(vote(3, 1), None), election_ttl()).await;
    assert!(matches!(vote, Err(RPCError::Unreachable(_))), "{vote:?}");
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_peer_is_not_called_in_a_loop() {
    let pair = pair();
    let mut heartbeats = pair.one.factory::<Made>().new_heartbeat_client(2, &member("two")).await;
    heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()).await.expect("answered");
    // Stopped: connections are accepted by its system, and nobody reads them.
    pair.fake.answers.send_replace(false);
    pair.listening.abort();
    let stalled = pair.pipes.listen("two");
    let (before, begun) = (pair.one.attempts(), Instant::now());
    while begun.elapsed() < Duration::from_secs(30) {
        let beat = Instant::now();
        let answer =
            timeout(Duration::from_millis(80), heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()));
        assert!(!matches!(answer.await, Ok(Ok(_))));
        tokio::time::sleep_until(beat + Duration::from_millis(80)).await;
    }
    let attempts = pair.one.attempts() - before;
    assert!((5..=40).contains(&attempts), "{attempts} attempts in 30 s");

    // It goes on.
    drop(stalled);
    pair.fake.answers.send_replace(true);
    let _listening = pair.pipes.serve("two", pair.server.clone());
    let begun = Instant::now();
    while heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "it is called again soon");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_comes_back_is_made_anew_and_not_in_a_loop() {
    let pair = pair();
    let mut heartbeats = pair.one.factory::<Made>().new_heartbeat_client(2, &member("two")).await;
    pair.fake.answers.send_replace(false);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()).await.expect_err("no answer");
    }
    let attempts = pair.one.attempts();
    assert!((10..=16).contains(&attempts), "{attempts} attempts in 30 s, one for each silence");
    pair.fake.answers.send_replace(true);
    heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()).await.expect("answered");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_there_is_called_with_pauses_and_again_when_it_is() {
    let pair = pair();
    let mut client = pair.one.factory::<Made>().new_client(3, &member("three")).await;
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(10) {
        client.vote(VoteRequest::new(vote(3, 1), None), election_ttl()).await.expect_err("nobody is there");
        asked += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let attempts = pair.one.attempts();
    assert!(asked > 5_000 && (40..=120).contains(&attempts), "{asked} questions, {attempts} attempts");
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let pair = pair();
    let mut client = pair.one.factory::<Made>().new_client(2, &member("two")).await;
    let request = VoteRequest::new(vote(3, 1), None);
    client.vote(request.clone(), election_ttl()).await.expect("answered");
    pair.listening.abort();
    let _listening = pair.pipes.serve("two", pair.server.clone());
    let client = Arc::new(tokio::sync::Mutex::new(client));
    eventually("it answers again", || {
        let (client, request) = (Arc::clone(&client), request.clone());
        async move { client.lock().await.vote(request, election_ttl()).await.map(drop) }
    })
    .await;
    assert_eq!(pair.one.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_given_up_does_not_end_its_connection() {
    let pair = pair();
    let mut heartbeats = pair.one.factory::<Made>().new_heartbeat_client(2, &member("two")).await;
    pair.fake.answers.send_replace(false);
    for _ in 0..10 {
        let answer = heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl());
        assert!(timeout(Duration::from_millis(60), answer).await.is_err(), "it is slow");
    }
    pair.fake.answers.send_replace(true);
    let answer = heartbeats.append_entries(append(0, 0, 0), heartbeat_ttl()).await.expect("answered");
    assert_eq!(answer, AppendEntriesResponse::Success);
    assert_eq!(pair.one.attempts(), 1);
}
