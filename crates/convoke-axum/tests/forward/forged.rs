//! What somebody sends or answers who does not know the secret, or has read along.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use convoke::{Executed, LeaderInfo, Leadership, SendError};
use convoke_testing::Elections;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::nodes::{PATIENCE, Served, number, pair};

/// What was read along: the path's name, the signature, the body.
type Recorded = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Takes the place of a leader, keeps what it is sent, and answers as it likes.
async fn eavesdropper(answer: (StatusCode, &'static str)) -> (String, Recorded) {
    let recorded = Recorded::default();
    let take = move |State(recorded): State<Recorded>, headers: HeaderMap, body: Bytes| async move {
        recorded.lock().unwrap().push((headers, body));
        answer
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router: Router =
        Router::new().route("/convoke/forward/{name}", post(take)).with_state(recorded.clone());
    tokio::spawn(async move { axum_serve(listener, router).await });
    (url, recorded)
}

async fn axum_serve(listener: TcpListener, router: Router) {
    drop(convoke_axum::serve(listener, router, convoke_axum::ServeConfig::default()).await);
}

/// Posts to a node, and tells the status and the text.
async fn post_to(node: &Served, name: &str, headers: &HeaderMap, body: Bytes) -> (StatusCode, String) {
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("/convoke/forward/{name}")).header("host", "n");
    for (name, value) in headers.iter().filter(|(name, _)| *name == "convoke-forward") {
        request = request.header(name, value);
    }
    let sent = sender.send_request(request.body(Full::new(body)).unwrap());
    let response = timeout(PATIENCE, sent).await.expect("an answer").unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A request that `n1` meant for the leader `n2`, as somebody recorded it.
async fn recorded(n1: &Served) -> (HeaderMap, Bytes) {
    let (url, recorded) = eavesdropper((StatusCode::OK, "forged")).await;
    let leader = LeaderInfo { node: "n2".to_owned(), http: Some(url), term: 1 };
    n1.member.believes(Leadership::Follower { leader });
    let one = std::time::Duration::from_secs(2);
    let forged = n1.node.mediator().send(number("o")).idempotency_key("k").timeout(one).await;
    assert!(matches!(forged, Err(SendError::Disconnected)), "an unsigned answer is none: {forged:?}");
    recorded.lock().unwrap()[0].clone()
}

#[tokio::test]
async fn what_was_recorded_is_good_once_and_for_its_node_name_and_body_alone() {
    let (elections, n1, n2) = pair().await;
    let n3 = Served::start(&elections, "n3").await;
    let (headers, body) = recorded(&n1).await;
    let (status, text) = post_to(&n3, "led.number.v1", &headers, body.clone()).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{text}");
    assert!(text.contains("this is node n3"), "{text}");
    let (status, text) = post_to(&n2, "led.local.v1", &headers, body.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
    let (status, _) = post_to(&n2, "led.number.v1", &headers, body.clone()).await;
    assert_eq!(status, StatusCode::OK, "as its sender would have sent it");
    let (status, text) = post_to(&n2, "led.number.v1", &headers, body.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("sent before"), "{text}");
    let (headers, _) = recorded(&n1).await;
    let (status, text) = post_to(&n2, "led.number.v1", &headers, body).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a body of another request: {text}");
    assert_eq!(n2.runs(), 1);
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused_before_its_body_is_read() {
    let (_elections, _n1, n2) = pair().await;
    let (status, text) = post_to(&n2, "led.number.v1", &HeaderMap::new(), Bytes::new()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("not signed with this cluster's secret"), "{text}");
    // A head that promises a body which never comes.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(n2.address).await.unwrap();
    let head = "POST /convoke/forward/led.number.v1 HTTP/1.1\r\nhost: n\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let asked = Instant::now();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("it does not wait for the body").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(asked.elapsed().as_secs() < 5);
    assert_eq!(n2.runs(), 0);
}

#[tokio::test]
async fn a_refusal_that_the_leader_did_not_sign_is_believed_only_when_nothing_can_have_run() {
    for (status, executed) in [
        (StatusCode::SERVICE_UNAVAILABLE, Executed::Unknown),
        (StatusCode::MISDIRECTED_REQUEST, Executed::Unknown),
        (StatusCode::BAD_GATEWAY, Executed::Unknown),
        (StatusCode::NOT_FOUND, Executed::No),
        (StatusCode::UNAUTHORIZED, Executed::No),
    ] {
        let elections = Elections::new();
        let n1 = Served::start(&elections, "n1").await;
        let (url, recorded) = eavesdropper((status, "so says a proxy")).await;
        let leader = LeaderInfo { node: "n2".to_owned(), http: Some(url), term: 1 };
        n1.member.believes(Leadership::Follower { leader });
        let one = std::time::Duration::from_secs(1);
        let failed = n1.node.mediator().send(number("o")).timeout(one).await.unwrap_err();
        assert_eq!(failed.executed(), executed, "{status}: {failed}");
        assert!(!recorded.lock().unwrap().is_empty());
    }
}
