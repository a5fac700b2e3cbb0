//! The majority is lost for good.

use bytes::Bytes;
use convoke_cluster::{Cluster, Config, Consistency, ErrorKind, Member, NodeId, Timing};
use convoke_testing::{eventually, eventually_within};

use crate::support::{Journal, Nodes, PATIENCE, free_address, lines, write};

/// Three nodes of which the second saw no more than the first lines, and none runs any more. The first is gone with its
/// disk. The second, the third, and what was acknowledged.
async fn lost() -> (Nodes, NodeId, NodeId, Vec<Bytes>) {
    let mut nodes = Nodes::on_disk(3);
    nodes.snapshot_every = 60;
    nodes.timing = Timing::WAN; // patient enough for a busy machine
    nodes.start_all().await;
    let led = async || nodes.running.values().any(Cluster::is_leader);
    eventually_within(3 * PATIENCE, "a node leads, on a busy machine", led).await;
    let (leads, _) = nodes.leader().await;
    let mut others = nodes.founders.keys().copied().filter(|id| *id != leads);
    let (behind, best) = (others.next().expect("three"), others.next().expect("three"));
    let mut written = Vec::new();
    for number in 0..150 {
        if number == 75 {
            nodes.kill(behind);
        }
        let line = Bytes::from(format!("line {number}"));
        write(&nodes.running[&best], line.clone()).await.expect("two of three are a majority");
        written.push(line);
    }
    nodes.kill(leads);
    nodes.kill(best);
    let folder = nodes.folder(leads).expect("they are on disk");
    eventually("the disk is gone", async || std::fs::remove_dir_all(&folder).is_ok() && !folder.exists())
        .await;
    (nodes, behind, best, written)
}

/// A new cluster of one, from these survivors, where one of them was heard before.
fn begins(nodes: &Nodes, at: NodeId, from: &[NodeId]) -> Config {
    let address = &nodes.founders[&at].raft;
    let folder = |id: NodeId| nodes.folder(id).expect("they are on disk");
    let config = Config::new(address).cluster("again").node_id(7).timing(Timing::WAN).snapshot_every(60);
    let config = config.founder(7, Member::new("n7", address)).persistent(folder(7));
    from.iter().fold(config, |config, id| config.recover_from(folder(*id)))
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_majority_is_lost_a_new_cluster_begins_with_what_the_best_survivor_has() {
    let (mut nodes, behind, best, mut written) = lost().await;
    let config = begins(&nodes, best, &[behind, best]);
    std::fs::create_dir_all(nodes.folder(7).expect("on disk").with_extension("recovering").join("log"))
        .expect("as one that was interrupted leaves it");
    let mut alone = Cluster::start_with(config.clone(), Journal::default()).await.expect("it starts");
    alone.wait_for_leadership(PATIENCE).await.expect("it needs nobody");
    assert_eq!(lines(&alone, Consistency::Linearizable).await, written);
    let members: Vec<_> = alone.members().into_iter().map(|info| (info.id, info.member.name)).collect();
    assert_eq!(members, [(7, "n7".to_owned())]);
    // A member of the lost cluster that comes back is refused, and changes nothing.
    nodes.start(behind).await;
    write(&alone, "after").await.expect("it leads");
    written.push("after".into());

    // The second start finds its own state.
    drop(alone);
    alone = Cluster::start_with(config, Journal::default()).await.expect("it starts");
    alone.wait_for_leadership(PATIENCE).await.expect("it needs nobody");
    assert_eq!(lines(&alone, Consistency::Linearizable).await, written);
    // It grows as every cluster does.
    let address = free_address();
    let joins = Config::new(&address).cluster("again").node("n8").timing(Timing::WAN);
    let joins = joins.join(&nodes.founders[&best].raft);
    let joined = Cluster::start_with(joins, Journal::default()).await.expect("it starts");
    let id = alone.add_learner(Member::new("n8", address)).await.expect("it is added");
    alone.promote(id).await.expect("it catches up");
    assert_eq!(lines(&joined, Consistency::Linearizable).await, written);
    let old = &nodes.running[&behind];
    assert!(!old.is_leader() && old.members().iter().all(|info| info.id != 7), "{:?}", old.members());
    assert_eq!(alone.members().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_begins_with_no_survivor_that_could_come_back_or_still_runs() {
    let (mut nodes, behind, best, _) = lost().await;
    let refused = async |config: Config, part: &str| {
        let error = Cluster::start_with(config, Journal::default()).await.expect_err("it is refused");
        assert!(error.to_string().contains(part), "{error}");
        error.kind()
    };
    let same_name = begins(&nodes, best, &[best]).cluster("convoke");
    assert_eq!(refused(same_name, "another `name`").await, ErrorKind::Config);
    refused(begins(&nodes, best, &[99]), "99").await;
    let running = begins(&nodes, best, &[behind]);
    nodes.start(behind).await;
    refused(running, "which cannot be used").await;
    assert!(!nodes.folder(7).expect("on disk").exists(), "nothing was left behind");
}
