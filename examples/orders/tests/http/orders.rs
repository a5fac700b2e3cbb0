use std::collections::HashSet;

use convoke_testing::eventually;
use futures_util::future::join_all;
use reqwest::Method;

use crate::client::{Nodes, answer, order, order_of};

#[tokio::test]
async fn an_order_is_placed_on_one_node_read_on_another_and_shipped_on_the_third() {
    let nodes = Nodes::start().await;
    let placed = nodes.post(0, "/orders", &order()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let body = placed.json();
    let id = body["orderId"].as_str().expect("an id").to_owned();
    assert_eq!(placed.header("location"), Some(format!("/orders/{id}").as_str()));
    assert_eq!(body["status"], "Created");
    assert!(body["handledBy"].as_str().expect("a node").starts_with("node"));
    assert!(body["createdAt"].as_str().expect("a time").ends_with('Z'));

    let read = nodes.get(1, &format!("/orders/{id}")).await;
    assert_eq!((read.status, &read.json()["customerId"]), (200, &"CUST-001".into()));
    assert_eq!(read.json()["handledBy"], body["handledBy"]);

    let shipped = nodes.ship(2, &id).await;
    assert_eq!((shipped.status, &shipped.json()["status"]), (200, &"Shipped".into()), "{shipped:?}");
    let again = nodes.ship(0, &id).await;
    assert_eq!((again.status, again.fields()), (409, vec!["orderId".to_owned()]), "{again:?}");
    let read = nodes.get(1, &format!("/orders/{id}")).await.json();
    assert_eq!(read["trackingNumber"], shipped.json()["trackingNumber"]);
}

#[tokio::test]
async fn a_field_that_is_new_to_a_node_does_no_harm() {
    let nodes = Nodes::start().await;
    let mut newer = order();
    newer["coupon"] = "SPRING".into();
    newer["items"][0]["colour"] = "red".into();
    assert_eq!(nodes.post(0, "/orders", &newer).await.status, 201);
}

#[tokio::test]
async fn money_is_exact_from_the_request_to_the_answer() {
    let nodes = Nodes::start().await;
    for (quantity, price, total) in
        [("3", "0.1", "0.30"), ("1", "\"999.99\"", "999.99"), ("10000", "1000000", "10000000000.00")]
    {
        let request = nodes.request(0, Method::POST, "/orders").header("content-type", "application/json");
        let placed = answer(request.body(order_of(quantity, price))).await;
        assert!(placed.text.contains(&format!("\"totalAmount\":{total},")), "{placed:?}");
    }
}

#[tokio::test]
async fn orders_are_handled_by_all_nodes_in_turn() {
    let nodes = Nodes::start().await;
    let mut handled_by = HashSet::new();
    for n in 0..9 {
        let placed = nodes.post(n % 3, "/orders", &order()).await.json();
        handled_by.insert(placed["handledBy"].as_str().expect("a node").to_owned());
    }
    assert_eq!(handled_by.len(), 3, "{handled_by:?}");
}

#[tokio::test]
async fn of_two_who_ship_at_once_one_succeeds() {
    let nodes = Nodes::start().await;
    for _ in 0..20 {
        let id = nodes.place(0).await;
        let mut statuses: Vec<_> =
            join_all((0..3).map(|node| nodes.ship(node, &id))).await.iter().map(|a| a.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409]);
    }
}

#[tokio::test]
async fn every_node_receives_every_event_once() {
    let nodes = Nodes::start().await;
    let id = nodes.place(0).await;
    nodes.ship(1, &id).await;
    for node in 0..3 {
        eventually("both events arrive", async || nodes.events(node).await.len() == 2).await;
        let events = nodes.events(node).await;
        let names: HashSet<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        assert_eq!(names, HashSet::from(["orders.placed.v1", "orders.shipped.v1"]));
        let ids: HashSet<_> = events.iter().filter_map(|event| event["eventId"].as_str()).collect();
        assert_eq!(ids.len(), 2);
        assert!(events.iter().all(|event| event["orderId"] == id.as_str()));
        assert!(
            events.iter().all(|event| event["publishedBy"].is_string() && event["receivedAt"].is_string())
        );
        assert_eq!(nodes.get(node, "/events?limit=1").await.json().as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn pages_show_every_order_once_in_the_order_of_placing() {
    let nodes = Nodes::start().await;
    let mut placed = Vec::new();
    for n in 0..7 {
        placed.push(nodes.place(n % 3).await);
    }
    let (mut shown, mut path) = (Vec::new(), "/orders?limit=3".to_owned());
    let mut sizes = Vec::new();
    loop {
        let page = nodes.get(1, &path).await.json();
        let ids = page["orders"].as_array().expect("a list").iter();
        let ids: Vec<_> = ids.map(|order| order["orderId"].as_str().expect("an id").to_owned()).collect();
        sizes.push(ids.len());
        shown.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/orders?limit=3&after={next}");
    }
    assert_eq!((shown, sizes), (placed, vec![3, 3, 1]));
}

#[tokio::test]
async fn a_page_has_twenty_orders_unless_told_otherwise() {
    let nodes = Nodes::start().await;
    for _ in 0..21 {
        nodes.place(0).await;
    }
    let page = nodes.get(0, "/orders").await.json();
    assert_eq!(page["orders"].as_array().map(Vec::len), Some(20));
    assert!(page["next"].is_string());
}

#[tokio::test]
async fn health_names_the_node_and_what_it_depends_on() {
    let nodes = Nodes::start().await;
    let health = nodes.get(1, "/health").await;
    assert_eq!(health.status, 200);
    let body = health.json();
    assert_eq!((&body["status"], &body["node"]), (&"Healthy".into(), &"node2".into()));
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(!body["dependencies"].as_array().expect("a list").is_empty());
    for path in ["/livez", "/readyz"] {
        assert_eq!(nodes.get(1, path).await.status, 200, "{path}");
    }
}
