//! One test per row of the table of errors: the status, the code, and whether it ran.

use convoke::{Failed, Invalid, TransportHealth};
use serde_json::Value;

use super::app::{routes, start};
use super::client::{Answer, post};
use super::scripted::{self, Ending};

/// What a command that ends like this is answered with.
async fn ending(ending: Ending) -> Answer {
    let (node, _) = scripted::start(ending, TransportHealth::Up).await;
    post(&routes(node.mediator()), "/later", r#"{"id": 1}"#).await
}

#[track_caller]
fn check(answer: &Answer, status: u16, code: &str, executed: &str) -> Value {
    let problem = answer.problem(status);
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["type"], format!("urn:convoke:{code}"), "{problem}");
    assert_eq!(problem["executed"], executed, "{problem}");
    problem
}

#[track_caller]
fn check_away(answer: &Answer, code: &str) -> Value {
    assert_eq!(answer.header("retry-after"), Some("1"));
    check(answer, 503, code, "no")
}

#[tokio::test]
async fn a_refusal_has_the_status_code_and_fields_of_its_error() {
    let (_node, router) = start().await;
    let order = r#"{"customerId": "stranger", "items": [{"quantity": 1}]}"#;
    let problem = check(&post(&router, "/orders", order).await, 404, "customer.unknown", "yes");
    assert_eq!(problem["detail"], "we do not know stranger");
    let answer = post(&router, "/orders", r#"{"customerId": "ann", "items": []}"#).await;
    check(&answer, 422, "order.empty", "yes");
    answer.problem_of_field(422, "items");
}

#[tokio::test]
async fn a_ready_made_rejection_is_422_with_its_code() {
    let (_node, router) = start().await;
    let problem = check(&post(&router, "/later", r#"{"id": 404}"#).await, 422, "order.gone", "yes");
    assert_eq!(problem["detail"], "it is gone");
}

#[tokio::test]
async fn an_invalid_message_is_400_with_each_field() {
    let (_node, router) = start().await;
    let order = r#"{"customerId": "", "items": [{"quantity": 0}]}"#;
    let problem = check(&post(&router, "/orders", order).await, 400, "invalid", "no");
    let fields = problem["errors"].as_array().expect("the violations").iter();
    let fields: Vec<_> = fields.map(|error| error["field"].as_str().expect("a path")).collect();
    assert_eq!(fields, ["customer_id", "items[0].quantity"]);
}

#[tokio::test]
async fn what_another_node_finds_invalid_looks_the_same() {
    let answer = ending(|| Failed::Invalid(Invalid::field("id", "must be even"))).await;
    check(&answer, 400, "invalid", "no");
    answer.problem_of_field(400, "id");
}

#[tokio::test]
async fn what_another_node_cannot_decode_is_400() {
    let problem =
        check(&ending(|| Failed::Undecodable("missing field `id`".into())).await, 400, "undecodable", "no");
    assert_eq!(problem["detail"], "missing field `id`");
}

#[tokio::test]
async fn a_key_used_with_another_payload_is_422() {
    check(&ending(|| Failed::KeyReused).await, 422, "key-reused", "no");
}

#[tokio::test]
async fn a_key_whose_first_run_has_not_ended_is_409() {
    check(&ending(|| Failed::InProgress).await, 409, "in-progress", "running");
}

#[tokio::test]
async fn a_message_nobody_handles_is_503() {
    let (_node, router) = start().await;
    check_away(&super::client::get(&router, "/nobody").await, "no-handler");
}

#[tokio::test]
async fn an_overloaded_node_is_503() {
    check_away(&ending(|| Failed::Overloaded).await, "overloaded");
}

#[tokio::test]
async fn a_node_that_does_not_lead_is_503_and_says_who_does() {
    let problem =
        check_away(&ending(|| Failed::NotLeader { leader: Some("node2".into()) }).await, "not-leader");
    assert_eq!(problem["leader"], "node2");
    check_away(&ending(|| Failed::NotLeader { leader: None }).await, "not-leader");
}

#[tokio::test]
async fn a_store_that_is_away_is_503_without_saying_where_it_was() {
    let answer = ending(|| Failed::Unavailable("redis://u:secret@10.1.2.3".into())).await;
    let problem = check_away(&answer, "unavailable");
    assert!(!problem.to_string().contains("10.1.2.3"), "{problem}");
}

#[tokio::test]
async fn a_lost_connection_is_502() {
    check(&ending(|| Failed::Disconnected).await, 502, "disconnected", "unknown");
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_the_route_waits_is_504() {
    let (_node, router) = start().await;
    check(&post(&router, "/stall", "").await, 504, "timed-out", "unknown");
}

#[tokio::test]
async fn a_fault_is_500_without_its_text() {
    let (_node, router) = start().await;
    let problem = check(
        &post(&router, "/orders", r#"{"customerId": "crash", "items": []}"#).await,
        500,
        "faulted",
        "yes",
    );
    assert!(!problem.to_string().contains("secret_orders"), "{problem}");
}
