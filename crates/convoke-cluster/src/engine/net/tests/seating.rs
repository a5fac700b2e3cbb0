use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::kit::{FakeService, Pipes, identity};
use crate::engine::net::lane::Lane;
use crate::engine::net::serve::Server;
use crate::engine::net::{Net, Timing};

struct World {
    pipes: Pipes,
    _listening: tokio::task::JoinHandle<()>,
}

fn world(connections_max: usize) -> World {
    let pipes = Pipes::default();
    let two = Net::new(identity(2), Timing::default(), Arc::new(pipes.clone()));
    let server = Server::new(Arc::clone(&two.peers), Arc::new(FakeService::default()), connections_max);
    let _listening = pipes.serve("two", server);
    World { pipes, _listening }
}

impl World {
    fn node(&self, id: u64) -> Net {
        Net::new(identity(id), Timing::default(), Arc::new(self.pipes.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_calls_again_takes_the_place_of_its_old_connection() {
    let world = world(8);
    let (before, after) = (world.node(1), world.node(1));
    let old = before.peers.dial(Some(2), "two", Lane::Control).link().await.expect("a connection");
    let other_lane = before.peers.dial(Some(2), "two", Lane::Log).link().await.expect("a connection");
    let new = after.peers.dial(Some(2), "two", Lane::Control).link().await.expect("a connection");
    timeout(Duration::from_secs(5), async {
        while old.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the old one is closed");
    assert!(new.is_open() && other_lane.is_open());
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_members_are_refused_and_a_free_place_is_taken() {
    let world = world(2);
    let nodes: Vec<_> = (3..6).map(|id| world.node(id)).collect();
    let first = nodes[0].peers.dial(Some(2), "two", Lane::Log);
    let link = first.link().await.expect("a connection");
    nodes[1].peers.dial(Some(2), "two", Lane::Log).link().await.expect("a connection");
    let third = nodes[2].peers.dial(Some(2), "two", Lane::Log);
    let why = third.link().await.expect_err("no room");
    assert!(why.to_string().contains("too many connections"), "{why}");

    link.cut("a test");
    tokio::time::sleep(Timing::default().refused).await;
    third.link().await.expect("there is room");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_nothing_for_long_is_hung_up_on() {
    let world = world(2);
    let node = world.node(1);
    let link = node.peers.dial(Some(2), "two", Lane::Control).link().await.expect("a connection");
    let idle = Timing::default().idle;
    tokio::time::sleep(idle - Duration::from_secs(1)).await;
    assert!(link.is_open());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!link.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_heard_is_called_back_without_a_pause() {
    let world = world(8);
    let one = world.node(1);
    let dial = one.peers.dial(Some(3), "three", Lane::Control);
    for _ in 0..50 {
        dial.link().await.expect_err("nobody is there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    dial.link().await.expect_err("nobody is there");
    let service = Arc::new(FakeService::default());
    let _three = world.pipes.serve("three", world.node(3).server(Arc::clone(&service) as Arc<_>));
    dial.link().await.expect_err("there is a pause");
    let _one = world.pipes.serve("one", one.server(service));
    world.node(3).peers.dial(Some(1), "one", Lane::Control).link().await.expect("a connection");
    dial.link().await.expect("at once");
}
