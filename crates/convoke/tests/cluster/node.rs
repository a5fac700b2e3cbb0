//! A node of a cluster: its health, and the order in which it stops.

use std::time::Duration;

use convoke::{App, Config, CoordinatorHealth, Leadership, SingletonContext};
use convoke_testing::{Elections, eventually};
use tokio::time::Instant;

use super::world::{Do, Forward, Member, World};

#[tokio::test(start_paused = true)]
async fn a_stopping_leader_finishes_what_runs_and_hands_over_so_that_no_request_is_lost() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n1");
    let senders = (0..20).map(|n| {
        let mediator = n2.node().mediator();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(n)).await;
            mediator.send(Forward(Do::Reply)).await
        })
    });
    let senders: Vec<_> = senders.collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let n1 = n1.restart(App::new("other").node("n1")).await;
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    assert_eq!(world.elections.leader().as_deref(), Some("n2"));
    assert!(world.elections.member("n1").has_left());
    assert_eq!(world.ran().len(), 20);
    drop(n1);
}

#[tokio::test(start_paused = true)]
async fn leadership_is_given_away_only_after_the_singletons_ended() {
    let (elections, at_end) = (Elections::new(), std::sync::Arc::new(std::sync::Mutex::new(None)));
    let (watched, seen) = (elections.clone(), at_end.clone());
    let body = move |_: SingletonContext| {
        let ending = Ending(watched.clone(), seen.clone());
        async move {
            let _ending = ending;
            std::future::pending::<()>().await;
        }
    };
    let app = App::new("swept").node("n1").cluster(elections.member("n1")).singleton("sweep", body);
    elections.member("n2");
    let node = app.start().await.unwrap();
    elections.elect("n1");
    eventually("it runs", || async {
        let health = node.health().await.cluster.unwrap();
        health.singletons[0].state.word() == "running"
    })
    .await;
    node.stop().await;
    assert_eq!(at_end.lock().unwrap().take().flatten().as_deref(), Some("n1"), "it led when the body ended");
    assert_eq!(elections.leader().as_deref(), Some("n2"));
}

type Seen = std::sync::Arc<std::sync::Mutex<Option<Option<String>>>>;

struct Ending(Elections, Seen);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.leader());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_is_cut_off_by_the_transfer_and_the_stop_keeps_its_time() {
    let world = World::default();
    let [n1, n2] = world.nodes(["n1", "n2"]).await;
    world.elections.elect("n1");
    let mediator = n2.node().mediator();
    let send =
        tokio::spawn(async move { mediator.send(Forward(Do::Hang)).timeout(Duration::from_mins(1)).await });
    eventually("the handler runs", || async { world.hung() == 1 }).await;
    let began = Instant::now();
    let n1 = n1.restart(App::new("other").node("n1")).await;
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert!(send.await.unwrap().is_err());
    assert_eq!(world.dropped(), 1);
    drop(n1);
}

#[tokio::test(start_paused = true)]
async fn health_shows_the_cluster_and_readiness_needs_one_only_for_what_is_the_leaders() {
    let world = World::default();
    let [n1] = world.nodes(["n1"]).await;
    let plain = App::new("plain").node("p").cluster(world.elections.member("p")).start().await.unwrap();
    let feels = |health: &CoordinatorHealth| {
        ["n1", "p"].into_iter().for_each(|node| world.elections.member(node).feels(health.clone()));
    };
    feels(&CoordinatorHealth::Down("no majority answers: look at n2 and n3".to_owned()));
    assert!(!n1.health().await.is_ready());
    assert_eq!(n1.health().await.to_string(), "cluster: no majority answers: look at n2 and n3");
    assert!(plain.health().await.is_ready(), "nothing in it is for the leader");
    feels(&CoordinatorHealth::Degraded("n3 is away".to_owned()));
    let health = n1.health().await;
    assert!(health.is_ready());
    assert_eq!(health.to_string(), "cluster: n3 is away");
    assert_eq!(health.cluster.unwrap().leadership, Leadership::NoLeader);
    world.elections.elect("n1");
    assert!(n1.health().await.cluster.unwrap().leadership.is_leader());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_begins_nothing_more_and_its_successor_does_it() {
    let world = World::default();
    let mut config = Config::default();
    config.leader_wait = Duration::from_secs(20);
    let [n1, n2] = Member::all([world.app("n1"), world.app("n2").config(config)]).await;
    world.elections.elect("n1");
    let send = |what| {
        let mediator = n2.node().mediator();
        tokio::spawn(
            async move { mediator.send(Forward(what)).local().timeout(Duration::from_secs(30)).await },
        )
    };
    let hanging = send(Do::Hang);
    eventually("the handler runs", || async { world.hung() == 1 }).await;
    let stopping = tokio::spawn(n1.restart(App::new("other").node("n1")));
    tokio::time::sleep(Duration::from_secs(1)).await; // it waits for what hangs, and leads still
    assert_eq!(world.elections.leader().as_deref(), Some("n1"));
    assert_eq!(send(Do::Reply).await.unwrap().unwrap().node, "n2");
    assert!(hanging.await.unwrap().is_err());
    drop(stopping.await.unwrap());
}
