//! This node's copy of the replicated state, as openraft drives it.

mod builder;

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    alias::{LogIdOf, SnapshotOf, StoredMembershipOf},
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};

use self::builder::Builder;
use crate::engine::runtime::watch;
use crate::{
    StateMachine,
    engine::{
        snapshot::{Meta, SnapshotFile, Snapshots},
        types::{Applied, Types},
    },
    replicated::{Shared, System},
};

/// So many entries are applied under one lock. Readers wait that long at most.
const APPLY_BATCH: usize = 128;

/// The copy. The state itself is shared with those who read it; only this writes.
pub(crate) struct Replica<M: StateMachine> {
    system: Shared<M>,
    snapshots: Snapshots,
    position: Position,
    applied: watch::Sender<u64>,
}

/// How far the state has come.
#[derive(Debug, Clone, Default)]
struct Position {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
}

impl Position {
    fn meta(&self) -> Meta {
        Meta { last_log_id: self.last, last_membership: self.membership.clone() }
    }
}

impl<M: StateMachine> Replica<M> {
    /// A copy in its first state: openraft brings it up to date from the snapshot and the log when it starts. The
    /// index of what was applied last is told to `applied`.
    pub(crate) fn new(system: Shared<M>, snapshots: Snapshots, applied: watch::Sender<u64>) -> Self {
        Self { system, snapshots, position: Position::default(), applied }
    }

    fn apply_batch(&mut self, batch: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let mut answers = Vec::with_capacity(batch.len());
        {
            let mut system = self.system.write().unwrap_or_else(PoisonError::into_inner);
            for (entry, responder) in batch {
                let id = entry.log_id;
                let applied = apply_one(&mut system, &mut self.position, id, entry.payload)?;
                self.position.last = Some(id);
                answers.push((responder, applied));
            }
        }
        if let Some(last) = self.position.last {
            self.applied.send_replace(last.index);
        }
        let tell = |(responder, applied): (Option<ApplyResponder<Types>>, Applied)| {
            if let Some(responder) = responder {
                responder.send(applied);
            }
        };
        answers.into_iter().for_each(tell);
        Ok(())
    }
}

/// Becomes what is in the snapshot. Nothing is applied meanwhile, and where the machine allows it, readers go on.
fn restore<M: StateMachine>(system: &Shared<M>, snapshot: SnapshotFile) -> io::Result<()> {
    let aside = system.read().unwrap_or_else(PoisonError::into_inner).aside();
    let Some(mut restored) = aside else {
        let mut system = system.write().unwrap_or_else(PoisonError::into_inner);
        return snapshot.read(|state| system.restore(state));
    };
    snapshot.read(|state| restored.restore(state))?;
    let before = mem::replace(&mut *system.write().unwrap_or_else(PoisonError::into_inner), restored);
    // A large state takes a while to go, which nobody has to wait for.
    drop(before);
    Ok(())
}

fn apply_one<M: StateMachine>(
    system: &mut System<M>,
    position: &mut Position,
    id: LogIdOf<Types>,
    payload: EntryPayload<crate::engine::types::Proposal, crate::NodeId, crate::Member>,
) -> io::Result<Applied> {
    let (index, term) = (id.index, id.leader_id.term);
    match payload {
        EntryPayload::Blank => {}
        #[cfg(test)]
        EntryPayload::Membership(_)
            if position.membership.log_id().is_some()
                && crate::sim::planted::Planted::MembersForgotten.is_planted() => {}
        EntryPayload::Membership(membership) => {
            position.membership = StoredMembershipOf::<Types>::new(Some(id), membership);
        }
        EntryPayload::Normal(proposal) => {
            // A half-applied command must not be seen, and the next start would meet it again: the node stops, and
            // says at which entry.
            let applied = catch_unwind(AssertUnwindSafe(|| system.apply(index, term, proposal)));
            return applied.map_err(|_| {
                io::Error::other(format!(
                    "the state machine panicked at entry {index} of the log; the node stops"
                ))
            });
        }
    }
    Ok(Applied { index, term, ..Applied::default() })
}

impl<M: StateMachine> RaftStateMachine<Types> for Replica<M> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        Ok((self.position.last, self.position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH);
        while let Some(batch) = batches.next().await {
            self.apply_batch(batch.into_iter().collect::<io::Result<_>>()?)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let system = self.system.read().unwrap_or_else(PoisonError::into_inner);
        Builder::new(system.image(), self.position.meta(), self.snapshots.clone())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: SnapshotFile) -> io::Result<()> {
        let (system, snapshots) = (self.system.clone(), self.snapshots.clone());
        let install = move || {
            // First the file: what is in the state must come back after a crash.
            let snapshot = snapshots.publish(snapshot)?;
            restore(&system, snapshot)?;
            snapshots.count_installed();
            Ok(())
        };
        self.snapshots.off_the_path(install).await.map_err(|error| self.snapshots.explain(error))?;
        self.position = Position { last: meta.last_log_id, membership: meta.last_membership.clone() };
        self.applied.send_replace(meta.last_log_id.map_or(0, |id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotFile>>> {
        let snapshots = self.snapshots.clone();
        let current = self.snapshots.off_the_path(move || snapshots.current()).await?;
        Ok(current
            .map(|snapshot| SnapshotOf::<Types, SnapshotFile> { meta: snapshot.meta().clone(), snapshot }))
    }
}
