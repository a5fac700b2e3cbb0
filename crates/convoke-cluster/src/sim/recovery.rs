//! What must be so when everything was mended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    clients::{self, Books, Client},
    host::{Host, address},
    operator::Ledger,
};
use crate::{Consistency, MemberInfo, NodeId, Role};

/// How long a healed cluster may take until every member answers.
const RECOVERY: Duration = Duration::from_secs(10);
/// The pause before a node is asked again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long a node may take.
const WITHIN: Duration = Duration::from_secs(1);

/// Every member answers again, for every register, and the members are those they were changed to.
pub(super) async fn recover(seed: u64, books: &Arc<Books>, ledger: &Ledger) -> Vec<String> {
    let mut client = Client::new(1000, seed, Arc::clone(books));
    let mut answered = BTreeSet::new();
    let mut last = Vec::new();
    let all = async {
        loop {
            last = members(books).await;
            let hosts: Vec<_> =
                books.hosts().iter().map(|(machine, host)| (*machine, Arc::clone(host))).collect();
            let asked: Vec<_> =
                hosts.into_iter().filter(|(machine, host)| is_member(&last, *machine, host)).collect();
            for (machine, host) in &asked {
                if !answered.contains(machine) && answers(&mut client, host).await {
                    answered.insert(*machine);
                }
            }
            if !last.is_empty() && asked.iter().all(|(machine, _)| answered.contains(machine)) {
                return;
            }
            sleep(AGAIN).await; // a node that stopped answers so at once
        }
    };
    if timeout(RECOVERY, all).await.is_err() {
        return vec![format!(
            "of {last:?} only {answered:?} answered within {RECOVERY:?} after everything was mended"
        )];
    }
    let votes = last.iter().map(|member| (member.id, member.role == Role::Voter));
    ledger.complaints(&votes.collect::<BTreeMap<NodeId, bool>>())
}

/// Whether the node of this machine is one of them, or is to become one.
fn is_member(members: &[MemberInfo], machine: u64, host: &Host) -> bool {
    let id = host.cluster.node_id();
    let here = address(machine);
    members.iter().any(|info| info.member.raft == here && id.is_none_or(|id| id == info.id))
}

/// The members, as the first node has them that can be sure.
async fn members(books: &Books) -> Vec<MemberInfo> {
    let hosts: Vec<_> = books.hosts().values().cloned().collect();
    for host in hosts {
        if host.cluster.barrier(Consistency::Linearizable, Instant::now() + WITHIN).await.is_ok() {
            return host.cluster.members();
        }
    }
    Vec::new()
}

async fn answers(client: &mut Client, host: &Arc<Host>) -> bool {
    for key in clients::keys() {
        if !client.read(host, key, Consistency::Linearizable, WITHIN).await {
            return false;
        }
    }
    true
}
