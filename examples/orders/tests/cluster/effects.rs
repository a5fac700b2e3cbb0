use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Router, extract::Query, http::StatusCode, routing::post};
use convoke_testing::{eventually, servers::NatsServer};

use crate::process::Node;

type Report = HashMap<String, String>;

/// Counts effects, and refuses the first few reports of events.
#[derive(Clone, Default)]
struct Witness {
    reports: Arc<Mutex<Vec<Report>>>,
    refusals: Arc<AtomicU32>,
}

impl Witness {
    async fn start(&self) -> String {
        let witness = self.clone();
        let note = async move |Query(report): Query<Report>| witness.note(report);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/effect", post(note));
        let serving = convoke::http::serve(listener, router, convoke::http::ServeConfig::default());
        tokio::spawn(serving.into_future());
        format!("http://{address}")
    }

    fn note(&self, report: Report) -> StatusCode {
        let refuse = |left: u32| left.checked_sub(1);
        if report["kind"] == "event"
            && self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok()
        {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        self.reports.lock().expect("nobody panics here").push(report);
        StatusCode::NO_CONTENT
    }

    fn of_kind(&self, kind: &str) -> Vec<Report> {
        let reports = self.reports.lock().expect("nobody panics here");
        reports.iter().filter(|report| report["kind"] == kind).cloned().collect()
    }
}

#[tokio::test]
async fn a_witness_counts_each_effect_once_also_when_it_was_away() {
    let test = "a_witness_counts_each_effect_once_also_when_it_was_away";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let witness = Witness::default();
    // More refusals than one report has tries: the handler faults and is run again.
    witness.refusals.store(8, Ordering::Relaxed);
    let (url, nats) = (witness.start().await, nats.url());
    let mut nodes = Vec::new();
    for id in ["node1", "node2"] {
        let node = Node::start(&["--node", id, "--nats", &nats, "--effects-url", &url]).await;
        node.ready().await;
        nodes.push(node);
    }
    let placed = nodes[0].place("k-1").await.expect("an answer");
    let repeated = nodes[1].place("k-1").await.expect("an answer");
    assert_eq!((placed.status, &placed.text), (201, &repeated.text));
    let id = placed.text_of("orderId");
    assert_eq!(nodes[1].ship(&id).await.status, 200);
    assert_eq!(nodes[0].ship(&id).await.status, 409);

    eventually("all effects are reported", async || witness.of_kind("event").len() == 4).await;
    let orders = witness.of_kind("order");
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!((&orders[0]["id"], orders[0]["key"].as_str()), (&id, "k-1"));
    assert_eq!(orders[0]["node"], placed.text_of("handledBy"));
    let ships = witness.of_kind("ship");
    assert_eq!((ships.len(), &ships[0]["id"]), (1, &id));
    for (node, process) in ["node1", "node2"].into_iter().zip(&nodes) {
        let mut reported: Vec<_> = witness
            .of_kind("event")
            .into_iter()
            .filter(|e| e["node"] == node)
            .map(|e| e["id"].clone())
            .collect();
        let events = process.events().await;
        let mut events: Vec<_> =
            events.iter().map(|e| e["eventId"].as_str().expect("an id").to_owned()).collect();
        reported.sort_unstable();
        events.sort_unstable();
        assert_eq!(reported, events, "each event once on {node}");
    }
}
