//! Enqueued commands of handlers that are for the leader.

use std::time::Duration;

use convoke::Config;
use convoke_testing::eventually;

use super::world::{Do, Forward, Member, Once, Reject, World};

#[tokio::test(start_paused = true)]
async fn a_job_is_settled_by_the_leader_whichever_node_takes_it() {
    let world = World::default();
    let [n1, _n2, _n3] = world.nodes(["n1", "n2", "n3"]).await;
    world.elections.elect("n2");
    for _ in 0..4 {
        n1.enqueue(Forward(Do::Reply)).await.unwrap();
        n1.enqueue(Reject(Do::Reply)).await.unwrap();
    }
    n1.settled().await;
    let ran = world.ran();
    assert_eq!(ran.len(), 8);
    assert!(ran.iter().all(|ran| ran.starts_with("n2 ")), "{ran:?}");
    assert_eq!((n1.bus().enqueued::<Forward>().len(), n1.dead_letters().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_leader_however_long_there_is_none() {
    let world = World::default();
    let [n1, _n2] = world.nodes(["n1", "n2"]).await;
    n1.enqueue(Forward(Do::Reply)).await.unwrap();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(world.ran(), [""; 0]);
    assert_eq!(n1.bus().enqueued::<Forward>(), [Forward(Do::Reply)]);
    world.elections.elect("n2");
    n1.settled().await;
    assert_eq!(world.ran(), ["n2 cluster.forward.v1 Reply"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_and_a_send_under_one_key_run_once() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n2");
    n1.enqueue(Once(Do::Reply)).idempotency_key("k").await.unwrap();
    n1.settled().await;
    let sent = n2.send(Once(Do::Reply)).idempotency_key("k").detailed().await.unwrap();
    assert!(sent.replayed);
    assert_eq!(world.ran(), ["n2 cluster.once.v1 Reply"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_leader_gives_up_is_buried_once_and_can_be_replayed() {
    let world = World::default();
    let [n1, _n2, _n3] = world.nodes(["n1", "n2", "n3"]).await;
    world.elections.elect("n2");
    n1.enqueue(Once(Do::Fault)).await.unwrap();
    n1.enqueue(Once(Do::Refuse)).await.unwrap();
    n1.settled().await;
    let attempts = Config::default().attempts_max.min(3) as usize;
    assert_eq!(world.ran().len(), attempts + 1);
    let mut letters = n1.dead_letters();
    letters.sort_by(|a, b| a.errors.cmp(&b.errors));
    let told: Vec<_> = letters.iter().map(|l| (&*l.errors[0], &*l.node, l.replays)).collect();
    assert_eq!(told, [("refused: not today", "n2", 0), ("the disk is full", "n2", 0)]);
    assert_eq!(n1.bus().enqueued::<Once>().len(), 0, "both are settled");
    replay_all(&n1).await;
    n1.settled().await;
    assert_eq!(world.ran().len(), 2 * (attempts + 1), "each came back to the leader");
    let replays: Vec<_> = n1.dead_letters().iter().map(|letter| letter.replays).collect();
    assert_eq!(replays, [1, 1], "and gave up again, which is known");
}

async fn replay_all(app: &Member) {
    use convoke::LetterFilter;
    let letters = app.node().dead_letters().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let page = letters.list(&LetterFilter::all(), 0, 10, deadline).await.unwrap();
    for letter in page.letters {
        letters.replay(letter.number, deadline).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_leader_goes_is_run_again_by_the_next_one() {
    let world = World::default();
    let [n1, _n2, _n3] = world.nodes(["n1", "n2", "n3"]).await;
    world.elections.elect("n2");
    n1.enqueue(Once(Do::HangOnce)).await.unwrap();
    eventually("the handler runs", || async { world.hung() == 1 }).await;
    world.elections.elect("n3");
    n1.settled().await;
    assert_eq!(world.ran(), ["n2 cluster.once.v1 HangOnce", "n3 cluster.once.v1 HangOnce"]);
    assert_eq!((world.dropped(), n1.dead_letters().len()), (1, 0), "a run that was cut off is no attempt");
}
