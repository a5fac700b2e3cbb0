//! The members of a cluster change while clients write.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use convoke_cluster::{Cluster, Consistency, NodeId, Role, Timing};
use convoke_testing::{eventually, is_soak};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    load::{Load, Offer, Write, percentile},
    members::roles,
    support::{Journal, Nodes, PATIENCE, lines, write},
};

/// How the test is made.
struct Form {
    timing: Timing,
    offer: Offer,
    /// Lines that are there before, and entries between two snapshots: more lines than the log keeps.
    lines: usize,
    snapshot_every: u64,
    /// How long clients write at least.
    lasts: Duration,
    /// Of the rate that is offered, so much is reached; 0 where the machine decides.
    reached_min: f64,
}

impl Form {
    /// What an unoptimised build on a busy machine carries, with patience for its elections. In the long form, what is
    /// promised of a release.
    fn asked_for() -> Self {
        if is_soak() {
            let offer = Offer { rate: 1000, within: Duration::from_secs(5), bytes: 200 };
            let (timing, lasts) = (Timing::DEFAULT, Duration::from_secs(30));
            Self { timing, offer, lines: 100_000, snapshot_every: 20_000, lasts, reached_min: 0.99 }
        } else {
            let offer = Offer { rate: 200, within: PATIENCE, bytes: 50 };
            let (timing, lasts) = (Timing::WAN, Duration::from_secs(3));
            Self { timing, offer, lines: 2500, snapshot_every: 1000, lasts, reached_min: 0.0 }
        }
    }
}

/// When the leader was removed.
struct Removal {
    began: Instant,
    ended: Instant,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_catches_up_by_snapshot_votes_and_replaces_the_leader_under_load() {
    let form = Form::asked_for();
    let mut nodes = Nodes::on_disk(3);
    (nodes.timing, nodes.snapshot_every) = (form.timing, form.snapshot_every);
    nodes.start_all().await;
    let before = fill(&nodes, form.lines).await;
    let (member, joined) = nodes.newcomer("n4").await;
    // Four clients, two of them at the node that will be removed.
    let (old, leader) = nodes.leader().await;
    let mut entrances: Vec<_> = nodes.running.iter().map(|(id, node)| (*id, node.clone())).collect();
    entrances.push((old, leader.clone()));
    let load = Load::start(&entrances, form.offer);

    let (_, through) = nodes.follower().await;
    assert!(leader.metrics().purged > 0, "a log that is complete needs no snapshot");
    let began = Instant::now();
    let id = through.add_learner(member).await.expect("it is added");
    assert!(id > 999, "{id} could be a founder's");
    through.promote(id).await.expect("it catches up");
    let caught_up = began.elapsed();
    let installed = joined.metrics();
    assert!(installed.snapshots_installed > 0, "the first entries are in no log: {installed:?}");
    let (old, removal) = remove_the_leader(&nodes, &joined, &load).await;
    let left = form.lasts.saturating_sub(load.lasted());
    let until = Instant::now() + left.max(form.lasts / 3);
    tokio::time::sleep_until(until).await;
    let (lasted, written) = load.end().await;

    println!(
        "the newcomer voted {caught_up:?} after it was added, by a snapshot of {} bytes",
        installed.snapshot_bytes
    );
    println!("the leader was removed within {:?}", removal.ended - removal.began);
    check_writes(&written, lasted, &removal, &form);
    check_lines(&joined, &before, &written).await;
    assert_eq!(joined.node_id(), Some(id));
    let voters = roles(&joined);
    assert!(voters.contains(&(id, Role::Voter)) && voters.iter().all(|(id, _)| *id != old), "{voters:?}");
}

/// Writes so many lines, many at once, until the log no longer begins with the first of them.
async fn fill(nodes: &Nodes, count: usize) -> Vec<Bytes> {
    let (_, leader) = nodes.leader().await;
    let text = |number| Bytes::from(format!("{:.<200}", format!("before {number} ")));
    let before: Vec<_> = (0..count).map(text).collect();
    let writes = stream::iter(&before).map(|line| write(leader, line.clone())).buffer_unordered(128);
    writes
        .for_each(async |written| {
            written.expect("it is written");
        })
        .await;
    eventually("the log no longer has the first entries", async || leader.metrics().purged > 0).await;
    before
}

/// Whoever leads by now goes, and then clients leave it.
async fn remove_the_leader(nodes: &Nodes, joined: &Cluster<Journal>, load: &Load) -> (NodeId, Removal) {
    if joined.is_leader() {
        // An election of its own, on a machine that was too busy for the timing: one of the others is to go.
        joined.transfer_leadership(nodes.founders.keys().next().copied()).await.expect("it hands over");
    }
    let (old, _) = nodes.leader().await;
    let through = nodes.running.iter().find(|(id, _)| **id != old).expect("there are others").1;
    let began = Instant::now();
    through.remove(old).await.expect("the leader hands over and goes");
    let ended = Instant::now();
    load.close(old);
    (old, Removal { began, ended })
}

/// Nothing failed but what was under way when the leader went, and that not twice.
fn check_writes(written: &[Write], lasted: Duration, removal: &Removal, form: &Form) {
    let reached = written.len() as f64 / lasted.as_secs_f64();
    let repeated: Vec<_> = written.iter().filter_map(|write| Some((write, write.failed.as_ref()?))).collect();
    let took = [50, 99, 100].map(|percent| percentile(written, percent));
    println!(
        "{} writes in {lasted:?}: {reached:.0}/s of {}/s, {} of them repeated once; median, p99 and max: {took:?}",
        written.len(),
        form.offer.rate,
        repeated.len(),
    );
    for (write, (failed, error)) in repeated {
        let under_way = write.began <= removal.ended && *failed >= removal.began;
        assert!(under_way, "{:?} failed while the leader stayed: {error}", write.line);
    }
    assert!(reached >= form.reached_min * f64::from(form.offer.rate), "{reached:.0}/s");
}

/// All that was acknowledged is there, and once unless it was repeated.
async fn check_lines(node: &Cluster<Journal>, before: &[Bytes], written: &[Write]) {
    let mut found: BTreeMap<Bytes, usize> = BTreeMap::new();
    for line in lines(node, Consistency::Linearizable).await {
        *found.entry(line).or_default() += 1;
    }
    let all = before
        .iter()
        .map(|line| (line, 1))
        .chain(written.iter().map(|write| (&write.line, 1 + usize::from(write.failed.is_some()))));
    for (line, most) in all {
        let times = found.remove(line).unwrap_or_default();
        assert!((1..=most).contains(&times), "{line:?} is there {times} times");
    }
    assert!(found.is_empty(), "nobody wrote {found:?}");
}
