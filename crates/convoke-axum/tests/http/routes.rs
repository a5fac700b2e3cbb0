use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;
use serde_json::json;

use super::app::start;
use super::client::{get, json as request, post, send};

const ORDER: &str = r#"{"customerId": "ann", "items": [{"quantity": 1}]}"#;

#[tokio::test]
async fn a_command_comes_from_the_body_and_a_location_makes_it_created() {
    let (_node, router) = start().await;
    let answer = post(&router, "/orders", ORDER).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("location"), Some("/orders/17"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(answer.json(), json!({"order": 17, "run": 1}));
}

#[tokio::test]
async fn a_query_comes_from_the_query_string_with_the_headers_of_its_route() {
    let (_node, router) = start().await;
    let answer = get(&router, "/orders?limit=2&after=5").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!([6, 7])));
    assert_eq!(answer.header("x-served-by"), Some("convoke"));
}

#[tokio::test]
async fn a_message_is_made_from_the_path_the_headers_and_the_body() {
    let (_node, router) = start().await;
    let put = Request::put("/orders/7/name").header("x-by", "ann");
    let answer = send(&router, request(put, r#""blue""#)).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!("7 blue ann")));
}

#[tokio::test]
async fn a_reply_of_nothing_is_no_content() {
    let (_node, router) = start().await;
    let answer = send(&router, Request::delete("/orders/1").body(Body::empty()).expect("a request")).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(answer.header("content-type"), None);
}

#[tokio::test]
async fn a_route_may_have_a_status_of_its_own() {
    let (_node, router) = start().await;
    assert_eq!(post(&router, "/later", r#"{"id": 1}"#).await.status, StatusCode::ACCEPTED);
    post(&router, "/later", r#"{"id": 404}"#).await.problem(422);
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_refused_with_its_reason() {
    let (_node, router) = start().await;
    let answer =
        send(&router, Request::delete("/orders/seven").body(Body::empty()).expect("a request")).await;
    let problem = answer.problem(400);
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("seven")), "{problem}");
    assert_eq!(problem["executed"], "no");
}

#[tokio::test]
async fn a_query_string_that_cannot_be_read_names_its_field() {
    let (_node, router) = start().await;
    get(&router, "/orders?limit=many").await.problem_of_field(400, "limit");
    get(&router, "/orders?after=1").await.problem_of_field(400, "limit");
}

#[tokio::test]
async fn paths_and_methods_without_a_route_are_problems_too() {
    let (_node, router) = start().await;
    get(&router, "/nowhere").await.problem(404);
    let answer = post(&router, "/orders/7", "{}").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("DELETE"));
}

#[tokio::test]
async fn a_mistake_of_the_server_is_500_without_its_text() {
    let (_node, router) = start().await;
    let problem = post(&router, "/broken", "").await.problem(500);
    assert!(!problem.to_string().contains("Private"), "{problem}");
}
