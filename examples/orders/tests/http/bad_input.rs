use convoke_testing::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Nodes, answer, order, order_of};

async fn send(nodes: &Nodes, body: impl Into<reqwest::Body>, content_type: &str) -> Answer {
    let request = nodes.request(0, Method::POST, "/orders").header("content-type", content_type);
    answer(request.body(body)).await
}

/// Each body is answered with this status and names this field; nothing is stored, nothing published.
async fn check(bodies: &[(String, u16, Option<&str>)]) {
    let nodes = Nodes::start().await;
    for (body, status, field) in bodies {
        let refused = send(&nodes, body.clone(), "application/json").await;
        assert_eq!(refused.status, *status, "{body}: {refused:?}");
        let fields = refused.fields();
        match field {
            Some(field) => assert!(fields.iter().any(|named| named == field), "{body}: {refused:?}"),
            None => assert!(fields.is_empty(), "{body}: {refused:?}"),
        }
    }
    nothing_happened(&nodes).await;
}

/// No order, and the next event that arrives is that of the next order.
async fn nothing_happened(nodes: &Nodes) {
    assert_eq!(nodes.orders().await, Vec::<Value>::new());
    let id = nodes.place(0).await;
    for node in 0..3 {
        eventually("the event arrives", async || !nodes.events(node).await.is_empty()).await;
        let events = nodes.events(node).await;
        assert!(events.iter().all(|event| event["orderId"] == id.as_str()), "{events:?}");
    }
}

fn with(change: impl FnOnce(&mut Value)) -> String {
    let mut body = order();
    change(&mut body);
    body.to_string()
}

#[tokio::test]
async fn an_order_without_items_or_customer_is_refused() {
    check(&[
        (with(|order| order["items"] = json!([])), 400, Some("items")),
        (with(|order| order["items"] = json!(null)), 400, Some("items")),
        (with(|order| order["customerId"] = json!("")), 400, Some("customerId")),
        (with(|order| order["customerId"] = json!("c".repeat(65))), 400, Some("customerId")),
        ("{}".to_owned(), 400, Some("customerId")),
        (with(|order| order["items"] = vec![order["items"][0].clone(); 101].into()), 400, Some("items")),
    ])
    .await;
}

#[tokio::test]
async fn a_quantity_out_of_range_is_refused() {
    let bodies = ["0", "-1", "10001", "1.5", "\"three\"", "null", "99999999999999999999", "1e300"]
        .map(|quantity| (order_of(quantity, "1"), 400, Some("items[0].quantity")));
    check(&bodies).await;
}

#[tokio::test]
async fn a_price_that_is_negative_absurd_or_no_amount_is_refused() {
    let bodies =
        ["-0.01", "1000000.01", "1e300", "0.001", "\"ten\"", "null", "[]", "0.1000000000000000000000001"]
            .map(|price| (order_of("1", price), 400, Some("items[0].unitPrice")));
    check(&bodies).await;
}

#[tokio::test]
async fn names_out_of_bounds_are_refused() {
    check(&[
        (with(|order| order["items"][0]["productId"] = json!("")), 400, Some("items[0].productId")),
        (
            with(|order| order["items"][0]["productId"] = json!("p".repeat(65))),
            400,
            Some("items[0].productId"),
        ),
        (
            with(|order| order["items"][0]["productName"] = json!("n".repeat(201))),
            400,
            Some("items[0].productName"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let deep = "[".repeat(100_000);
    check(&[
        ("{\"customerId\":".to_owned(), 400, None),
        ("nonsense".to_owned(), 400, None),
        (String::new(), 400, None),
        (deep, 400, None),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_type_is_refused() {
    let nodes = Nodes::start().await;
    let large = with(|order| order["customerId"] = json!("c".repeat(10 * 1024 * 1024)));
    let request = nodes.request(0, Method::POST, "/orders").header("content-type", "application/json");
    // The node may close the connection before all is sent: then there is an answer or a broken pipe.
    match request.body(large).send().await {
        Ok(response) => assert_eq!(response.status(), 413),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
    for content_type in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        let refused = send(&nodes, order().to_string(), content_type).await;
        assert_eq!(refused.status, 415, "{refused:?}");
        assert!(refused.fields().is_empty());
    }
    nothing_happened(&nodes).await;
}

#[tokio::test]
async fn an_order_that_does_not_exist_is_not_found() {
    let nodes = Nodes::start().await;
    for id in ["nope", "00000000-0000-7000-8000-000000000000", "%00", "a%2Fb"] {
        let read = nodes.get(0, &format!("/orders/{id}")).await;
        assert_eq!((read.status, read.fields()), (404, vec!["orderId".to_owned()]), "{read:?}");
        let shipped = nodes.ship(1, id).await;
        assert_eq!((shipped.status, shipped.fields()), (404, vec!["orderId".to_owned()]), "{shipped:?}");
    }
    nothing_happened(&nodes).await;
}

#[tokio::test]
async fn a_page_out_of_range_is_refused() {
    let nodes = Nodes::start().await;
    for (path, field) in [
        ("/orders?limit=0", "limit"),
        ("/orders?limit=101", "limit"),
        ("/orders?limit=many", "limit"),
        ("/orders?after=nope", "after"),
        ("/events?limit=0", "limit"),
        ("/events?limit=10001", "limit"),
        ("/events?limit=-1", "limit"),
    ] {
        let refused = nodes.get(0, path).await;
        assert_eq!((refused.status, refused.fields()), (400, vec![field.to_owned()]), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_answered_as_problems() {
    let nodes = Nodes::start().await;
    assert!(nodes.get(0, "/nothing").await.fields().is_empty());
    let deleted = answer(nodes.request(0, Method::DELETE, "/orders")).await;
    assert_eq!((deleted.status, deleted.fields()), (405, vec![]), "{deleted:?}");
}
