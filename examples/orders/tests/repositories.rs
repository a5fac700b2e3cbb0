//! One list of promises, kept by every repository.
use std::sync::Arc;

use convoke::{nats, redis};
use convoke_testing::{
    eventually,
    servers::{NatsServer, RedisServer},
};
use futures_util::future::join_all;
use orders::{
    Item, Order, OrderId, Repository, Status,
    repository::{InProcessOrders, JetStreamOrders, RedisOrders},
};
use uuid::Uuid;

fn order() -> Order {
    let unit_price = "999.99".parse().expect("an amount");
    let item =
        Item { product_id: "P-1".into(), product_name: "Laptop \u{1f4bb}".into(), quantity: 2, unit_price };
    Order::place(OrderId::from(Uuid::now_v7()), "C-1".into(), vec![item], "node1")
}

async fn keeps_its_promises(orders: Repository) {
    an_order_comes_back_as_it_was(&orders).await;
    the_first_order_under_an_id_stays(&orders).await;
    of_many_who_replace_one_version_one_succeeds(&orders).await;
    what_is_not_there_is_not_replaced(&orders).await;
    of_many_who_put_one_id_all_see_one_order(&orders).await;
}

async fn an_order_comes_back_as_it_was(orders: &Repository) {
    let order = order();
    assert_eq!(orders.get(order.order_id).await.expect("it answers"), None);
    assert_eq!(orders.put(&order).await.expect("it is stored"), order);
    let (stored, _) = orders.get(order.order_id).await.expect("it answers").expect("it is there");
    assert_eq!(stored, order);
}

async fn the_first_order_under_an_id_stays(orders: &Repository) {
    let first = order();
    orders.put(&first).await.expect("it is stored");
    let second = Order { customer_id: "C-2".into(), ..first.clone() };
    assert_eq!(orders.put(&second).await.expect("it answers"), first);
    let (stored, _) = orders.get(first.order_id).await.expect("it answers").expect("it is there");
    assert_eq!(stored, first);
}

async fn of_many_who_replace_one_version_one_succeeds(orders: &Repository) {
    let order = order();
    orders.put(&order).await.expect("it is stored");
    let (_, version) = orders.get(order.order_id).await.expect("it answers").expect("it is there");
    let shipped: Vec<_> =
        (0..8).map(|n| order.shipped(&format!("T-{n}")).expect("not shipped yet")).collect();
    let replaced = join_all(shipped.iter().map(|shipped| orders.replace(shipped, version))).await;
    let replaced: Vec<bool> = replaced.into_iter().map(|replaced| replaced.expect("it answers")).collect();
    assert_eq!(replaced.iter().filter(|replaced| **replaced).count(), 1, "{replaced:?}");
    let (stored, newer) = orders.get(order.order_id).await.expect("it answers").expect("it is there");
    let winner = replaced.iter().position(|replaced| *replaced).expect("there is one");
    assert_eq!((stored.status, &stored), (Status::Shipped, &shipped[winner]));
    assert_ne!(newer, version);
    assert!(!orders.replace(&order, version).await.expect("it answers"), "the version is gone");
    assert!(orders.replace(&stored, newer).await.expect("it answers"));
}

async fn what_is_not_there_is_not_replaced(orders: &Repository) {
    let order = order();
    assert!(!orders.replace(&order, 1).await.expect("it answers"));
    assert_eq!(orders.get(order.order_id).await.expect("it answers"), None);
}

async fn of_many_who_put_one_id_all_see_one_order(orders: &Repository) {
    let first = order();
    let all: Vec<_> = (0..8).map(|n| Order { customer_id: format!("C-{n}"), ..first.clone() }).collect();
    let seen = join_all(all.iter().map(|order| orders.put(order))).await;
    let seen: Vec<Order> = seen.into_iter().map(|order| order.expect("it answers")).collect();
    assert!(seen.iter().all(|order| *order == seen[0]), "{seen:?}");
}

/// On a repository of its own.
async fn lists_in_the_order_of_placing(orders: Repository) {
    assert_eq!(orders.list(None, 10).await.expect("it answers"), []);
    let placed: Vec<_> = (0..7).map(|_| order()).collect();
    for order in &placed {
        orders.put(order).await.expect("it is stored");
    }
    // A change moves nothing.
    let (_, version) = orders.get(placed[0].order_id).await.expect("it answers").expect("it is there");
    assert!(orders.replace(&placed[0], version).await.expect("it answers"));
    let ids = |orders: &[Order]| orders.iter().map(|order| order.order_id).collect::<Vec<_>>();
    let all = orders.list(None, 100).await.expect("it answers");
    assert_eq!(ids(&all), ids(&placed));
    let page = orders.list(None, 3).await.expect("it answers");
    assert_eq!(ids(&page), ids(&placed[..3]));
    let page = orders.list(Some(placed[2].order_id), 3).await.expect("it answers");
    assert_eq!(ids(&page), ids(&placed[3..6]));
    let page = orders.list(Some(placed[6].order_id), 3).await.expect("it answers");
    assert_eq!(page, []);
}

async fn in_nats(server: &NatsServer, namespace: &str) -> (nats::Transport, Repository) {
    let transport = nats::Transport::connect(server.url()).await.expect("the address is right");
    let orders: Repository = Arc::new(JetStreamOrders::new(transport.jetstream(), namespace, 1));
    eventually("NATS is connected", async || orders.list(None, 1).await).await;
    (transport, orders)
}

async fn in_redis(server: &RedisServer, prefix: &str) -> Repository {
    let stores = redis::Stores::connect(server.url()).await.expect("the address is right");
    Arc::new(RedisOrders::new(&stores.connection(), prefix))
}

#[tokio::test]
async fn orders_in_this_process_keep_the_promises() {
    keeps_its_promises(Arc::new(InProcessOrders::default())).await;
    lists_in_the_order_of_placing(Arc::new(InProcessOrders::default())).await;
}

#[tokio::test]
async fn orders_in_redis_keep_the_promises() {
    let Some(server) = RedisServer::start_or_skip("orders_in_redis_keep_the_promises").await else { return };
    keeps_its_promises(in_redis(&server, "a").await).await;
    lists_in_the_order_of_placing(in_redis(&server, "b").await).await;
}

#[tokio::test]
async fn orders_in_jetstream_keep_the_promises() {
    let Some(server) = NatsServer::start_or_skip("orders_in_jetstream_keep_the_promises").await else {
        return;
    };
    let (_transport, orders) = in_nats(&server, "a").await;
    keeps_its_promises(orders).await;
    let (_transport, orders) = in_nats(&server, "b").await;
    lists_in_the_order_of_placing(orders).await;
}

#[tokio::test]
async fn a_repository_whose_server_is_away_says_so_in_time() {
    let test = "a_repository_whose_server_is_away_says_so_in_time";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::start_or_skip(test).await else { return };
    let (_transport, in_nats) = in_nats(&nats, "a").await;
    let in_redis = in_redis(&redis, "a").await;
    nats.pause();
    redis.pause();
    for orders in [in_nats, in_redis] {
        let put = tokio::time::timeout(std::time::Duration::from_secs(5), orders.put(&order())).await;
        let error = put.expect("it gives up").expect_err("nobody answers");
        assert_eq!(error.kind(), convoke::StoreErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_process_keeps_a_limited_number_of_orders() {
    let orders = InProcessOrders::default();
    let repository: Repository = Arc::new(orders);
    let template = order();
    for _ in 0..InProcessOrders::ORDERS_MAX {
        let order = Order { order_id: OrderId::from(Uuid::now_v7()), items: Vec::new(), ..template.clone() };
        repository.put(&order).await.expect("there is room");
    }
    let error = repository.put(&template).await.expect_err("there is no room");
    assert_eq!(error.kind(), convoke::StoreErrorKind::Refused);
}
