//! What becomes of a request that is forwarded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke::{Executed, LeaderInfo, Leadership, SendError};
use convoke_axum::{HttpForwarder, TlsConfig};
use convoke_testing::{Elections, eventually};
use opentelemetry::{context::FutureExt as _, trace::TraceContextExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::nodes::{Differs, Number, SECRET, Served, key, number, pair};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_request_reaches_the_leader_with_all_it_had_and_its_answer_comes_back_typed() {
    let (_elections, n1, n2) = pair().await;
    let mediator = n1.node.mediator();
    let send = mediator.send(number("o-1")).idempotency_key("k").header("tenant", "acme");
    let send = send.timeout(Duration::from_secs(5)).into_future();
    let span = convoke::trace::parse(TRACE).unwrap();
    let answer =
        send.with_context(opentelemetry::Context::new().with_remote_span_context(span)).await.unwrap();
    assert_eq!(
        (&*answer.node, answer.tenant.as_deref(), answer.trace.as_deref()),
        ("n2", Some("acme"), Some(TRACE))
    );
    assert_eq!(answer.fence.term, 1);
    assert!((3000..=5000).contains(&answer.remaining_ms), "{answer:?}");
    let again = mediator.send(number("o-1")).idempotency_key("k").detailed().await.unwrap();
    assert!(again.replayed && again.value == answer, "its claim lies with the leader");
    let reused = mediator.send(number("o-2")).idempotency_key("k").await;
    assert!(matches!(reused, Err(SendError::KeyReused)), "{reused:?}");
    let refused = mediator.send(number("nobody")).await.unwrap_err();
    assert_eq!(refused.rejected().map(|refusal| &*refusal.code), Some("nobody"));
    assert_eq!((n1.runs(), n2.runs()), (0, 2));
}

#[tokio::test]
async fn a_large_message_is_forwarded_and_one_beyond_the_limits_is_refused() {
    let (_elections, n1, n2) = pair().await;
    let mediator = n1.node.mediator();
    let large = |bytes| Number { of: "o".to_owned(), pad: "x".repeat(bytes) };
    assert_eq!(mediator.send(large(1024 * 1024 - 64)).await.unwrap().node, "n2");
    let refused = mediator.send(large(2 * 1024 * 1024)).await.unwrap_err();
    assert_eq!((refused.executed(), n2.runs()), (Executed::No, 1), "{refused}");
}

#[tokio::test]
async fn many_requests_share_few_connections() {
    let elections = Elections::new();
    let n1 = Served::start(&elections, "n1").await;
    let n2 = Served::start(&elections, "n2").await;
    let (proxy, connections) = counting(n2.address).await;
    drop(n2.member.clone().http(format!("http://{proxy}")));
    elections.elect("n2");
    for n in 0..50 {
        n1.node.mediator().send(number(&n.to_string())).await.unwrap();
    }
    assert_eq!((n2.runs(), connections.load(Ordering::SeqCst)), (50, 1));
}

/// Passes bytes on, and counts connections.
async fn counting(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(to).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // its end is the test's
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_leader_that_is_gone_is_waited_for_and_the_next_one_asked() {
    let (elections, n1, n2) = pair().await;
    let n3 = Served::start(&elections, "n3").await;
    let (proxy, connections) = counting(n2.address).await;
    drop(n2.member.clone().http(format!("http://{proxy}")));
    elections.elect("n2");
    n1.node.mediator().send(number("first")).await.unwrap(); // a connection is kept
    drop(n2);
    let before = connections.load(Ordering::SeqCst);
    let mediator = n1.node.mediator();
    let send = tokio::spawn(async move { mediator.send(number("second")).await });
    eventually("it looks for who is gone", || async { connections.load(Ordering::SeqCst) > before }).await;
    elections.elect("n3");
    assert_eq!(send.await.unwrap().unwrap().node, "n3");
    assert_eq!(n3.runs(), 1);
}

#[tokio::test]
async fn no_request_goes_further_than_to_whom_it_was_forwarded() {
    let (_elections, n1, n2) = pair().await;
    let follows = |leader: &Served| {
        let http = Some(format!("http://{}", leader.address));
        let leader = LeaderInfo { node: leader.node.id().to_owned(), http, term: 1 };
        Leadership::Follower { leader }
    };
    n1.member.believes(follows(&n2));
    n2.member.believes(follows(&n1));
    let asked = Instant::now();
    let refused = n1.node.mediator().send(number("o")).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::NotLeader { leader: Some(leader) } if leader.contains("http://")),
        "{refused:?}"
    );
    assert!(asked.elapsed() < Duration::from_secs(3));
    assert_eq!((n1.runs(), n2.runs()), (0, 0));
}

#[tokio::test]
async fn a_leader_without_an_address_is_a_sentence() {
    let elections = Elections::new();
    let n1 = Served::start(&elections, "n1").await;
    elections.member("n2");
    elections.elect("n2");
    let failed = n1.node.mediator().send(number("o")).await.unwrap_err();
    assert_eq!(failed.to_string(), "unavailable: the leader n2 has no HTTP address: give its node one");
}

#[tokio::test]
async fn a_caller_who_stops_waiting_does_not_cancel_what_the_leader_runs() {
    let (_elections, n1, n2) = pair().await;
    let slow = n1.node.mediator().send(number("slow")).timeout(Duration::from_secs(2)).await;
    assert!(matches!(slow, Err(SendError::TimedOut | SendError::InProgress)), "{slow:?}");
    assert!(n2.runs() >= 1);
    assert_eq!(n1.node.mediator().send(number("next")).await.unwrap().node, "n2");
}

#[tokio::test]
async fn tls_is_spoken_with_a_leader_whose_authority_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let [cert, secret] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&secret, made.signing_key.serialize_pem()).unwrap();
    let elections = Elections::new();
    let tls = Some(TlsConfig::new(&cert, &secret));
    let n2 = Served::start_with(&elections, "n2", Differs { tls, ..Differs::default() }).await;
    let forwarder = Some(HttpForwarder::new(key(SECRET)).tls_ca(&cert).unwrap());
    let n1 = Served::start_with(&elections, "n1", Differs { forwarder, ..Differs::default() }).await;
    let n3 = Served::start(&elections, "n3").await;
    elections.elect("n2");
    assert_eq!(n1.node.mediator().send(number("o")).await.unwrap().node, "n2");
    let refused = n3.node.mediator().send(number("o")).await.unwrap_err();
    assert!(refused.to_string().contains("give the forwarder its authority"), "{refused}");
    assert_eq!(n2.runs(), 1);
    assert!(HttpForwarder::new(key(SECRET)).tls_ca(secret).is_err(), "a key is no authority");
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused_and_nothing_runs() {
    let elections = Elections::new();
    let n2 = Served::start(&elections, "n2").await;
    let secret = "another secret, also long enough";
    let n1 = Served::start_with(&elections, "n1", Differs { secret, ..Differs::default() }).await;
    elections.elect("n2");
    let refused = n1.node.mediator().send(number("o")).await.unwrap_err();
    assert_eq!(refused.executed(), Executed::No);
    assert!(refused.to_string().contains("not signed with this cluster's secret"), "{refused}");
    assert_eq!(n2.runs(), 0);
    eventually("the leader is well", || async { n2.node.health().await.is_ready() }).await;
}
