use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

use super::kit::{SECRET, identity, pair};
use crate::engine::net::frame::{self, Frames};
use crate::engine::net::handshake::{HandshakeError, Hello, MAGIC, PROTOCOL, Refusal, accept, call};
use crate::engine::net::identity::Identity;
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;
use crate::{NodeId, Secret};

type Halves = (Frames<ReadHalf<DuplexStream>>, WriteHalf<DuplexStream>);

fn pipe() -> (Halves, Halves) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let halves = |stream| {
        let (read, write) = tokio::io::split(stream);
        (Frames::new(read), write)
    };
    (halves(near), halves(far))
}

async fn meet(
    caller: Identity,
    whom: Option<NodeId>,
    lane: Lane,
    full: bool,
) -> (Result<(), HandshakeError>, Result<Hello, HandshakeError>) {
    let ((mut from_two, mut to_two), (mut from_one, mut to_one)) = pipe();
    let listener = identity(2);
    let calling = async {
        let called = call(&mut from_two, &mut to_two, &caller, whom, lane).await;
        drop((from_two, to_two));
        called
    };
    let listening = async {
        let accepted = accept(&mut from_one, &mut to_one, &listener, full).await;
        drop((from_one, to_one));
        accepted
    };
    tokio::join!(calling, listening)
}

/// Both sides name the same reason.
#[track_caller]
fn refused(met: (Result<(), HandshakeError>, Result<Hello, HandshakeError>), expected: &Refusal) {
    for error in [met.0.map(drop), met.1.map(drop)].map(Result::unwrap_err) {
        match error {
            HandshakeError::Refused(refusal) => assert_eq!(refusal, *expected),
            other => panic!("{other:?} instead of {expected:?}"),
        }
    }
}

fn named(cluster: &str, secret: Option<&str>, id: NodeId) -> Identity {
    let secret = secret.map(|secret| Secret::new(secret).expect("long enough"));
    let identity = Identity::new(cluster, secret.as_ref());
    identity.set_id(id);
    identity
}

#[tokio::test]
async fn members_with_one_secret_meet() {
    let (called, accepted) = meet(identity(1), Some(2), Lane::Log, false).await;
    called.expect("welcomed");
    let hello = accepted.expect("a member");
    assert_eq!((hello.from, hello.to, hello.lane), (Some(1), Some(2), Lane::Log));
}

#[tokio::test]
async fn a_wrong_secret_or_none_is_refused_and_both_sides_say_so() {
    let wrong = named("tests", Some("another secret of the tests"), 1);
    refused(meet(wrong, Some(2), Lane::Log, false).await, &Refusal::Secret);
    refused(meet(named("tests", None, 1), Some(2), Lane::Log, false).await, &Refusal::Secret);
}

#[tokio::test]
async fn another_cluster_is_refused() {
    refused(meet(named("others", Some(SECRET), 1), Some(2), Lane::Log, false).await, &Refusal::Cluster);
}

#[tokio::test]
async fn whoever_looks_for_another_node_is_refused() {
    refused(meet(identity(1), Some(3), Lane::Log, false).await, &Refusal::Target { ours: Some(2) });
}

#[tokio::test]
async fn a_second_node_of_the_same_number_is_refused() {
    refused(meet(identity(2), Some(2), Lane::Log, false).await, &Refusal::Itself);
}

#[tokio::test]
async fn only_calls_may_be_made_without_a_number() {
    let nameless = Identity::new("tests", Some(&Secret::new(SECRET).expect("long enough")));
    refused(meet(nameless.clone(), Some(2), Lane::Log, false).await, &Refusal::Nameless);
    refused(meet(identity(1), None, Lane::Control, false).await, &Refusal::Nameless);
    let (called, accepted) = meet(nameless, None, Lane::Calls, false).await;
    called.expect("welcomed");
    accepted.expect("whoever has the secret may look for its place");
}

#[tokio::test]
async fn without_room_a_member_is_told_and_a_stranger_is_not() {
    refused(meet(identity(1), Some(2), Lane::Log, true).await, &Refusal::Full);
    let wrong = named("tests", Some("another secret of the tests"), 1);
    refused(meet(wrong, Some(2), Lane::Log, true).await, &Refusal::Secret);
}

#[tokio::test]
async fn a_listener_without_the_secret_is_left() {
    let ((mut from_two, mut to_two), (mut from_one, mut to_one)) = pipe();
    let impostor = async {
        // It takes any proof, and has none itself.
        from_one.exactly(MAGIC.len() + 2).await.expect("a preamble");
        from_one.next(&[Kind::Hello]).await.expect("a hello");
        to_one.write_all(&frame::encode(Kind::Challenge, &[7_u8; 32]).expect("small")).await.expect("sent");
        from_one.next(&[Kind::Proof]).await.expect("a proof");
        let forged = Some([9_u8; 32]);
        to_one.write_all(&frame::encode(Kind::Welcome, &forged).expect("small")).await.expect("sent");
    };
    let caller = identity(1);
    let (called, ()) = tokio::join!(call(&mut from_two, &mut to_two, &caller, Some(2), Lane::Log), impostor);
    assert!(matches!(called, Err(HandshakeError::Unproven)), "{called:?}");
}

#[tokio::test]
async fn what_was_said_on_one_connection_is_worth_nothing_on_another() {
    let said = overheard(None).await;
    let again = overheard(Some(said)).await;
    assert!(again.is_empty(), "a replayed conversation was welcomed");
}

/// What a caller says to a listener. With `replayed`, these words are said instead, and what is returned is empty
/// unless they are welcomed.
async fn overheard(replayed: Option<Vec<u8>>) -> Vec<u8> {
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let (read, mut write) = tokio::io::split(far);
    let mut frames = Frames::new(read);
    let listener = identity(2);
    if let Some(words) = replayed {
        near.write_all(&words).await.expect("sent");
        let accepted = accept(&mut frames, &mut write, &listener, false).await;
        return if accepted.is_ok() { words } else { Vec::new() };
    }
    let (caller_end, mut relay) = tokio::io::duplex(64 * 1024);
    let (caller_read, mut caller_write) = tokio::io::split(caller_end);
    let mut caller_frames = Frames::new(caller_read);
    let caller = identity(1);
    let mut words = Vec::new();
    let relaying = async {
        let (mut up, mut down) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                biased;
                read = relay.read(&mut up) => {
                    let read = read.expect("a pipe");
                    words.extend_from_slice(&up[..read]);
                    near.write_all(&up[..read]).await.expect("a pipe");
                }
                read = near.read(&mut down) => {
                    let read = read.expect("a pipe");
                    relay.write_all(&down[..read]).await.expect("a pipe");
                }
            }
        }
    };
    let meeting = async {
        let (called, accepted) = tokio::join!(
            call(&mut caller_frames, &mut caller_write, &caller, Some(2), Lane::Log),
            accept(&mut frames, &mut write, &listener, false)
        );
        called.expect("welcomed");
        accepted.expect("a member");
    };
    tokio::select! {
        biased;
        () = relaying => {}
        () = meeting => {}
    }
    assert!(!words.is_empty());
    let secret = SECRET.as_bytes();
    assert!(!words.windows(secret.len()).any(|part| part == secret), "the secret was sent");
    words
}

/// What a listener does with these first bytes, and how long it takes.
async fn first_bytes(bytes: &[u8], then_silent: bool) -> (io::Result<Vec<u8>>, Duration) {
    let pair = pair();
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let serving = tokio::spawn(async move { pair.server.serve(Box::new(far), "a test").await });
    let begun = Instant::now();
    near.write_all(bytes).await.expect("a pipe");
    if !then_silent {
        near.shutdown().await.expect("a pipe");
    }
    let mut answer = Vec::new();
    let read = near.read_to_end(&mut answer).await.map(|_| answer);
    timeout(Duration::from_secs(60), serving).await.expect("served to its end").expect("no panic");
    (read, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn garbage_is_hung_up_on_at_once_and_without_an_answer() {
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 64], &[0xFF; 64]] {
        let (answer, took) = first_bytes(garbage, true).await;
        assert_eq!(answer.expect("hung up"), b"");
        assert_eq!(took, Duration::ZERO, "{garbage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_version_of_the_protocol_is_told_ours() {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(PROTOCOL + 1).to_le_bytes());
    let (answer, took) = first_bytes(&bytes, true).await;
    let refusal = frame::encode(Kind::Refused, &Refusal::Protocol { ours: PROTOCOL }).expect("small");
    assert_eq!(answer.expect("hung up"), refusal);
    assert_eq!(took, Duration::ZERO);
}

fn greeting(frame: &Bytes) -> Vec<u8> {
    [&MAGIC[..], &PROTOCOL.to_le_bytes(), frame].concat()
}

#[tokio::test(start_paused = true)]
async fn before_the_handshake_no_large_frame_and_no_other_frame_is_waited_for() {
    let append = frame::encode(Kind::Append, &vec![0_u8; 1024]).expect("below the limit");
    let (answer, took) = first_bytes(&greeting(&append), true).await;
    assert_eq!((answer.expect("hung up"), took), (Vec::new(), Duration::ZERO));

    let announced = u32::try_from(Kind::Hello.body_bytes_max() + 3).expect("small");
    let mut oversized = announced.to_le_bytes().to_vec();
    oversized.extend_from_slice(&[frame::VERSION, Kind::Hello as u8]);
    let (answer, took) = first_bytes(&greeting(&oversized.into()), true).await;
    assert_eq!((answer.expect("hung up"), took), (Vec::new(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn whoever_says_its_first_words_too_slowly_is_hung_up_on() {
    let pair = pair();
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let begun = Instant::now();
    let serving = tokio::spawn(async move { pair.server.serve(Box::new(far), "a test").await });
    let dripping = async {
        let words = greeting(&frame::encode(Kind::Hello, &vec![0_u8; 2048]).expect("small"));
        for byte in words {
            if near.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    dripping.await;
    serving.await.expect("no panic");
    let within = crate::engine::net::Timing::default().handshake;
    assert!(begun.elapsed() < within * 2, "{:?}", begun.elapsed());
}
