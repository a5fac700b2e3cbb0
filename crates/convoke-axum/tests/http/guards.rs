use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get as on_get;
use convoke_axum::{bearer, rate_limit};
use http::StatusCode;

use super::client::{Answer, get, send};

fn guarded() -> Router {
    let guard = bearer(["new-token", "old-token"]).expect("both are tokens");
    Router::new().route("/", on_get(async || "inside")).layer(guard).route("/livez", on_get(async || "alive"))
}

async fn with(authorization: &[&str]) -> Answer {
    let request =
        authorization.iter().fold(Request::get("/"), |get, value| get.header("authorization", *value));
    send(&guarded(), request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn each_of_the_tokens_lets_a_request_pass() {
    for authorization in ["Bearer new-token", "bearer old-token", "BEARER  new-token "] {
        assert_eq!(with(&[authorization]).await.status, StatusCode::OK, "{authorization}");
    }
}

#[tokio::test]
async fn a_request_without_a_token_is_told_to_send_one() {
    for authorization in
        [&[] as &[&str], &["new-token"], &["Basic bmV3LXRva2Vu"], &["Bearer"], &["Bearer new-token"; 2]]
    {
        let answer = with(authorization).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{authorization:?}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_repeated() {
    for token in ["wrong", "new-toke", "new-token2", "NEW-TOKEN", "new-token old-token"] {
        let answer = with(&[&format!("Bearer {token}")]).await;
        let problem = answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
        assert!(!problem.to_string().contains(token), "{problem}");
    }
}

#[tokio::test]
async fn what_is_added_after_the_guard_needs_no_token() {
    assert_eq!(get(&guarded(), "/livez").await.status, StatusCode::OK);
}

#[test]
fn tokens_that_protect_nothing_or_never_fit_are_refused() {
    let none: [&str; 0] = [];
    assert!(bearer(none).is_err());
    for token in ["", "two words", "token\n", "tökén"] {
        assert!(bearer(["fine", token]).is_err(), "{token:?}");
    }
    assert_eq!(format!("{:?}", bearer(["s3cret"]).expect("a token")), "Bearer { tokens: 1 }");
}

async fn from(router: &Router, address: &str) -> Answer {
    let address: SocketAddr = address.parse().expect("an address");
    let request = Request::get("/").extension(ConnectInfo(address)).body(Body::empty());
    send(router, request.expect("a request")).await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let limit = rate_limit(1, 2).expect("a limit");
    let router = Router::new().route("/", on_get(async || "inside")).layer(limit);
    for _ in 0..2 {
        assert_eq!(from(&router, "10.0.0.1:1000").await.status, StatusCode::OK);
    }
    let refused = from(&router, "10.0.0.1:2000").await;
    assert_eq!(refused.problem(429)["executed"], "no");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(from(&router, "10.0.0.2:1000").await.status, StatusCode::OK, "another client");

    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(from(&router, "10.0.0.1:1000").await.status, StatusCode::OK);
    from(&router, "10.0.0.1:1000").await.problem(429);
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_address_share_one_allowance() {
    let router =
        Router::new().route("/", on_get(async || "inside")).layer(rate_limit(1, 1).expect("a limit"));
    assert_eq!(get(&router, "/").await.status, StatusCode::OK);
    get(&router, "/").await.problem(429);
}

#[test]
fn a_limit_that_lets_nobody_in_is_refused() {
    assert!(rate_limit(0, 1).is_err());
    assert!(rate_limit(1, 0).is_err());
    assert!(rate_limit(1_000_001, 1).is_err());
}
