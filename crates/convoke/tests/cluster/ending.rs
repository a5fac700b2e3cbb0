//! Leadership that ends while something runs for the leader.

use std::time::Duration;

use convoke::{Executed, SendError};
use convoke_testing::eventually;
use tokio::time::Instant;

use super::world::{Do, Forward, Once, World};

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_and_its_caller_told_that_it_may_have_done_something() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n2");
    for sender in [&n1, &n2] {
        let before = world.dropped();
        let mediator = sender.node().mediator();
        let send = tokio::spawn(async move { mediator.send(Forward(Do::Hang)).local().await });
        eventually("the handler runs", || async { world.hung() == before + 1 }).await;
        assert_eq!(world.dropped(), before);
        world.elections.depose();
        let failed = send.await.unwrap().unwrap_err();
        assert!(matches!(failed, SendError::Disconnected), "{failed:?}");
        assert_eq!(failed.executed(), Executed::Unknown);
        assert_eq!(world.dropped(), before + 1, "it was dropped");
        world.elections.elect("n2");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_last_moment_is_not_accepted() {
    let world = World::default();
    let [n1] = world.nodes(["n1"]).await;
    world.elections.elect("n1");
    let failed = n1.send(Forward(Do::ReplyDeposed)).await.unwrap_err();
    assert!(matches!(failed, SendError::Disconnected), "{failed:?}");
    assert_eq!(world.ran(), ["n1 cluster.forward.v1 ReplyDeposed"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_term_of_the_same_leader_does_not_save_a_run() {
    let world = World::default();
    let [n1, _n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n1");
    let mediator = n1.node().mediator();
    let send = tokio::spawn(async move { mediator.send(Forward(Do::Hang)).local().await });
    eventually("the handler runs", || async { world.hung() == 1 }).await;
    world.elections.elect("n2");
    world.elections.elect("n1"); // nobody looked in between
    assert!(matches!(send.await.unwrap(), Err(SendError::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_command_goes_on_at_the_next_leader_without_waiting_for_a_lease() {
    let world = World::default();
    let [n1, _n2, _n3] = world.nodes(["n1", "n2", "n3"]).await;
    world.elections.elect("n2");
    let mediator = n1.node().mediator();
    let asked = Instant::now();
    let send =
        tokio::spawn(async move { mediator.send(Once(Do::HangOnce)).idempotency_key("k").local().await });
    eventually("the handler runs", || async { world.hung() == 1 }).await;
    world.elections.elect("n3");
    let answer = send.await.unwrap().unwrap();
    assert_eq!((&*answer.node, answer.fence.unwrap().term), ("n3", 2));
    assert_eq!(world.ran(), ["n2 cluster.once.v1 HangOnce", "n3 cluster.once.v1 HangOnce"]);
    assert!(asked.elapsed() < Duration::from_secs(2), "after {:?}", asked.elapsed());
}
