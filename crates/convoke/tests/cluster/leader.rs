//! `#[handler(leader)]` on a cluster that is well.

use std::time::Duration;

use convoke::{App, SendError};
use tokio::time::Instant;

use super::world::{Ask, Do, Forward, Led, Once, Reject, World, leader_of};

#[tokio::test(start_paused = true)]
async fn a_command_runs_on_the_leader_whichever_node_it_reaches() {
    let world = World::default();
    let nodes = world.nodes(["n1", "n2", "n3"]).await;
    world.elections.elect("n2");
    let mut fences = Vec::new();
    for sender in &nodes {
        for _ in 0..3 {
            let answer = sender.send(Forward(Do::Reply)).await.unwrap();
            assert_eq!(answer.node, "n2");
            fences.push(answer.fence.unwrap());
        }
        assert_eq!(sender.query(Ask(Do::Reply)).await.unwrap().node, "n2", "a query as well");
    }
    assert!(fences.is_sorted() && fences.iter().all(|fence| fence.term == 1), "{fences:?}");
    world.elections.elect("n3");
    let later = nodes[0].send(Forward(Do::Reply)).await.unwrap();
    assert_eq!(later.node, "n3");
    assert!(later.fence > fences.pop(), "a later leader has the greater fence");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_rejects_says_where_the_leader_is() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n2");
    let leader = leader_of(n1.send(Reject(Do::Reply)).local().await);
    assert_eq!(leader.as_deref(), Some("http://n2:8081"));
    assert_eq!(n2.send(Reject(Do::Reply)).local().await.unwrap().node, "n2");
    world.elections.depose();
    let asked = Instant::now();
    assert_eq!(leader_of(n1.send(Reject(Do::Reply)).await), None);
    assert_eq!(asked.elapsed(), Duration::ZERO, "who rejects waits for nobody");
    assert_eq!(world.ran(), ["n2 cluster.reject.v1 Reply"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_an_election_and_not_for_ever() {
    let world = World::default();
    let [n1, _n2] = world.nodes(["n1", "n2"]).await;
    let asked = Instant::now();
    assert_eq!(leader_of(n1.send(Forward(Do::Reply)).await), None);
    assert_eq!(asked.elapsed().as_secs(), 2, "as long as `leader_wait`");
    let asked = Instant::now();
    let soon = n1.send(Forward(Do::Reply)).timeout(Duration::from_millis(500)).await;
    assert_eq!(leader_of(soon), None);
    assert!(asked.elapsed() < Duration::from_millis(500), "before the caller gives up");
    let elections = world.elections.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        elections.elect("n2");
    });
    assert_eq!(n1.send(Forward(Do::Reply)).await.unwrap().node, "n2");
    assert_eq!(world.ran().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_believes_to_lead_and_cannot_confirm_it_runs_nothing() {
    let world = World::default();
    let [n1, _n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n2");
    world.elections.member("n1").believes(convoke::Leadership::Leader { term: 1 });
    let rejected = leader_of(n1.send(Reject(Do::Reply)).local().await);
    assert_eq!(rejected.as_deref(), Some("http://n2:8081"));
    assert_eq!(world.ran(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_claimed_on_the_leader_and_a_repeat_gets_the_answer_from_any_node() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n2");
    let first = n1.send(Once(Do::Reply)).idempotency_key("k").await.unwrap();
    let again = n2.send(Once(Do::Reply)).idempotency_key("k").local().detailed().await.unwrap();
    assert!(again.replayed);
    assert_eq!((&again.value.node, &again.value.id), (&"n2".to_owned(), &first.id));
    let again = n1.send(Once(Do::Reply)).idempotency_key("k").local().detailed().await.unwrap();
    assert!(again.replayed, "through a forward, too");
    let other = n1.send(Once(Do::Refuse)).idempotency_key("k").local().await;
    assert!(matches!(other, Err(SendError::KeyReused)), "{other:?}");
    assert_eq!(world.ran(), ["n2 cluster.once.v1 Reply"]);
}

#[tokio::test]
async fn a_handler_for_the_leader_needs_a_cluster() {
    let app = App::new("led").node("n1").service(Led(World::default())).singleton("sweep", async |_| ());
    let refused = app.build().unwrap_err().to_string();
    assert!(refused.contains("`Led::reject` at"), "{refused}");
    assert!(refused.contains("wants the leader, and this app has no cluster"), "{refused}");
    assert!(refused.contains("the singleton `sweep` runs on the leader"), "{refused}");
    let world = World::default();
    let app = world.app("n1").singleton("sweep", async |_| ()).singleton("sweep", async |_| ());
    let refused = app.singleton("a b", async |_| ()).build().unwrap_err().to_string();
    assert!(refused.contains("two singletons are called `sweep`"), "{refused}");
    assert!(refused.contains("the singleton's name `a b` has letters"), "{refused}");
}

#[tokio::test]
async fn what_is_for_the_leader_is_described_so() {
    let world = World::default();
    let app = world.app("n1").singleton("sweep", async |_| ());
    let built = app.build().unwrap();
    let text = built.describe().to_string();
    assert!(text.contains("cluster.once.v1"), "{text}");
    assert!(text.contains("the leader, once per key"), "{text}");
    assert!(text.contains("singleton") && text.contains("sweep"), "{text}");
    assert!(built.catalogue().iter().any(|line| line.contains("on the leader")));
}
