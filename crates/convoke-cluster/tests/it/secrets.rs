use std::time::Duration;

use convoke_cluster::{Cluster, Config, Member, Secret};
use tokio::time::Instant;

use crate::support::{Journal, Nodes, PATIENCE, free_address, write};

fn config(id: u64, members: &[String], secret: &str) -> Config {
    let config = Config::new(&members[usize::try_from(id).expect("small") - 1]).node_id(id);
    let config = config.secret(Secret::new(secret).expect("it is long enough"));
    let members = (1..).zip(members);
    members.fold(config, |config, (id, address)| config.founder(id, Member::new(format!("n{id}"), address)))
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_another_secret_are_none() {
    let members = [free_address(), free_address()];
    let one = Cluster::start_with(config(1, &members, "the secret of all"), Journal::default());
    let other = Cluster::start_with(config(2, &members, "a secret of its own"), Journal::default());
    let (one, other) = (one.await.expect("it starts"), other.await.expect("it starts"));
    one.propose("line", Instant::now() + Duration::from_millis(500))
        .await
        .expect_err("one of two is no majority");
    drop(other);
    let two = Cluster::start_with(config(2, &members, "the secret of all"), Journal::default()).await;
    let _two = two.expect("it starts");
    write(&one, "line").await.expect("two of two are a majority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_longer_than_the_election_timeout_allows_is_no_mistake() {
    let mut nodes = Nodes::in_memory(1);
    let config = nodes.config(1).lease(Duration::from_mins(1));
    let node = Cluster::start_with(config, Journal::default()).await.expect("it is shortened");
    node.wait_for_leadership(PATIENCE).await.expect("it is alone");
    nodes.running.insert(1, node);
}
