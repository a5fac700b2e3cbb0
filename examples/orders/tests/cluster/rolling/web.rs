use std::{sync::Arc, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::tally::{Ended, Tally, Way};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Places an order, looks at it, ships it, again and again. No request has a key: one that ran twice is seen.
pub(crate) async fn work(url: String, n: usize, tally: Arc<Tally>) {
    let client = Client::builder().timeout(PATIENCE).build().expect("a client");
    let item = json!({ "productId": "P-1", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 });
    let order = json!({ "customerId": format!("web-{n}"), "items": [item] });
    while !tally.stopped() {
        let place = || ended(client.post(format!("{url}/orders")).json(&order));
        let Some(placed) = tally.until_run(Way::Web, "place", place).await else { continue };
        let order_id = placed["orderId"].as_str().expect("an id").to_owned();
        let one = format!("{url}/orders/{order_id}");
        tally.placed_one(order_id);
        tally.until_run(Way::Web, "get", || ended(client.get(&one))).await;
        tally.until_run(Way::Web, "ship", || ended(client.post(format!("{one}/ship")))).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ended(request: RequestBuilder) -> Ended<Value> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ended::NotRun("no connection".to_owned()),
        Err(error) => return Ended::Failed(format!("{error:?}")),
    };
    let status = response.status();
    let text = response.text().await.unwrap_or_else(|error| format!("cut off: {error:?}"));
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    match status {
        StatusCode::OK | StatusCode::CREATED if !json.is_null() => Ended::Well(json),
        StatusCode::SERVICE_UNAVAILABLE if json["executed"] == "no" => Ended::NotRun(text),
        _ => Ended::Failed(format!("{status} {text}")),
    }
}
