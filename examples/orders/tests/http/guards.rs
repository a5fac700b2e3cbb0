use std::sync::Arc;

use convoke::http::{ServeConfig, bearer, rate_limit};
use orders::{
    Effects, EventFeed, app,
    http::Guards,
    repository::InProcessOrders,
    running::{Http, Running, listen},
    settings::Role,
};
use reqwest::Method;

use crate::client::{answer, client, order};

async fn start(role: Role, guards: Guards) -> Running {
    let listener = listen("127.0.0.1:0", "--listen").await.expect("a free port");
    let http = Http { listener, config: ServeConfig::default(), role, guards, cluster: None };
    let feed = EventFeed::default();
    let app = app(Arc::new(InProcessOrders::default()), feed.clone(), Effects::default()).node("node1");
    Running::start(app, feed, http).await.expect("it starts")
}

async fn status(running: &Running, method: Method, path: &str, token: Option<&str>) -> u16 {
    let request = client().request(method, format!("http://{}{path}", running.address())).json(&order());
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    answer(request).await.status
}

#[tokio::test]
async fn orders_need_the_token_and_health_does_not() {
    let bearer = bearer(["s3cret"]).expect("a token");
    let running = start(Role::Api, Guards { bearer: Some(bearer), ..Guards::default() }).await;
    for path in ["/orders", "/events"] {
        assert_eq!(status(&running, Method::GET, path, None).await, 401);
        assert_eq!(status(&running, Method::GET, path, Some("wrong")).await, 401);
        assert_eq!(status(&running, Method::GET, path, Some("s3cret")).await, 200);
    }
    assert_eq!(status(&running, Method::POST, "/orders", None).await, 401);
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(status(&running, Method::GET, path, None).await, 200);
    }
}

#[tokio::test]
async fn a_client_beyond_its_rate_is_told_when_to_come_back() {
    let limit = rate_limit(1, 2).expect("a limit");
    let running = start(Role::Api, Guards { rate_limit: Some(limit), ..Guards::default() }).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(status(&running, Method::GET, "/orders", None).await);
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(status(&running, Method::GET, "/readyz", None).await, 200, "health is not limited");
}

#[tokio::test]
async fn a_worker_tells_its_health_and_takes_no_orders() {
    let running = start(Role::Worker, Guards::default()).await;
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(status(&running, Method::GET, path, None).await, 200);
    }
    assert_eq!(status(&running, Method::POST, "/orders", None).await, 404);
    assert_eq!(status(&running, Method::GET, "/events", None).await, 404);
}
