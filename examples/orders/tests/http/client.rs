//! A caller of the nodes.
use std::time::Duration;

use orders::demo::Demo;
use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};

/// A running demo and a client for it.
pub(crate) struct Nodes {
    pub(crate) demo: Demo,
    pub(crate) client: Client,
    urls: Vec<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let demo = Demo::start(0).await.expect("there are free ports");
        let urls = demo.addresses().iter().map(|address| format!("http://{address}")).collect();
        Self { demo, client: client(), urls }
    }

    /// A request to the nth node.
    pub(crate) fn request(&self, node: usize, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.urls[node]))
    }

    pub(crate) async fn get(&self, node: usize, path: &str) -> Answer {
        answer(self.request(node, Method::GET, path)).await
    }

    pub(crate) async fn post(&self, node: usize, path: &str, body: &Value) -> Answer {
        answer(self.request(node, Method::POST, path).json(body)).await
    }

    pub(crate) async fn post_with_key(&self, node: usize, key: &str, body: &Value) -> Answer {
        answer(self.request(node, Method::POST, "/orders").header("Idempotency-Key", key).json(body)).await
    }

    /// Places an order and returns its id.
    pub(crate) async fn place(&self, node: usize) -> String {
        let placed = self.post(node, "/orders", &order()).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        placed.json()["orderId"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn ship(&self, node: usize, id: &str) -> Answer {
        answer(self.request(node, Method::POST, &format!("/orders/{id}/ship"))).await
    }

    pub(crate) async fn orders(&self) -> Vec<Value> {
        let listed = self.get(0, "/orders?limit=100").await;
        listed.json()["orders"].as_array().expect("a list").clone()
    }

    pub(crate) async fn events(&self, node: usize) -> Vec<Value> {
        self.get(node, "/events").await.json().as_array().expect("a list").clone()
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The fields a problem is about.
    #[track_caller]
    pub(crate) fn fields(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str().map(str::to_owned)).collect()
    }
}

pub(crate) fn client() -> Client {
    Client::builder().timeout(Duration::from_secs(20)).build().expect("a client")
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    read(request.send().await.expect("an answer")).await
}

pub(crate) async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a body") }
}

/// The order of the README.
pub(crate) fn order() -> Value {
    json!({
        "customerId": "CUST-001",
        "items": [{ "productId": "PROD-001", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 }],
    })
}

/// The same with another item.
pub(crate) fn order_of(quantity: &str, unit_price: &str) -> String {
    format!(
        r#"{{"customerId":"C-1","items":[{{"productId":"P-1","productName":"Pen","quantity":{quantity},"unitPrice":{unit_price}}}]}}"#
    )
}
