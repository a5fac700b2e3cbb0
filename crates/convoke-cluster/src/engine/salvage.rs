//! A new cluster that begins with what survivors of a lost one have.
//!
//! Nothing in it decides whether the lost cluster is lost: people do. So the new one has another name, by which the
//! members of the old one are refused, and its only member has a number and a disk of its own.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use openraft::{
    EntryPayload, Membership, RaftLogReader,
    alias::{LogIdOf, StoredMembershipOf, VoteOf},
    storage::{IOFlushed, RaftLogStorage},
};
use uuid::Uuid;

use super::{
    life::disk_failed,
    log::Log,
    plate::Plate,
    snapshot::{Meta, Snapshots, create_folder, sync_folder},
    types::Types,
};
use crate::{Config, Error, Member, NodeId};

/// Behind the name of the folder where the new state is put together, beside its place.
const DRAFT: &str = ".recovering";

/// Before a node opens its folder: fills it from the survivors, when the configuration names some and the folder is new.
///
/// # Errors
/// Survivors that cannot be used, and what the disk says. The folder is then as it was.
pub(crate) async fn recover(config: &Config) -> Result<(), Error> {
    let (Some(path), Some(id)) = (config.path.clone(), config.node_id) else { return Ok(()) };
    if config.recover_from.is_empty() {
        return Ok(());
    }
    if Plate::is_in(&path) {
        tracing::info!(path = %path.display(), "`recover_from` is passed over: this node has its state");
        return Ok(());
    }
    let Some(member) = config.founders.get(&id).cloned() else { return Ok(()) };
    let begun = Begun { path, id, member, cluster: config.cluster.clone() };
    let survivors = config.recover_from.clone();
    let runtime = tokio::runtime::Handle::current();
    // The disk may take its time, and what survived may be much.
    let work = tokio::task::spawn_blocking(move || runtime.block_on(begun.from(&survivors)));
    work.await.map_err(|error| Error::storage(error.to_string()))?
}

/// The node that the new cluster begins with.
struct Begun {
    path: PathBuf,
    id: NodeId,
    member: Member,
    cluster: String,
}

/// What one member of the lost cluster has.
struct Survivor {
    folder: PathBuf,
    log: Log,
    snapshots: Snapshots,
    purged: Option<LogIdOf<Types>>,
    last: Option<LogIdOf<Types>>,
}

impl Begun {
    async fn from(self, folders: &[PathBuf]) -> Result<(), Error> {
        let mut best: Option<Survivor> = None;
        for folder in folders {
            let survivor = Survivor::open(folder, &self.cluster).await?;
            // The later term first, as members vote: of two logs with the same one, the longer.
            if best.as_ref().is_none_or(|best| best.last < survivor.last) {
                best = Some(survivor);
            }
        }
        let Some(best) = best else { return Ok(()) };
        let (from, index) = (best.folder.display().to_string(), best.last.map_or(0, |last| last.index));
        self.write(best).await.map_err(disk_failed)?;
        tracing::warn!(
            from,
            index,
            cluster = self.cluster,
            "a new cluster begins with what a survivor has: what was acknowledged behind this entry is lost"
        );
        Ok(())
    }

    /// All of it beside its place first: a crash leaves nothing that looks like a state.
    async fn write(&self, survivor: Survivor) -> io::Result<()> {
        let mut draft = self.path.clone().into_os_string();
        draft.push(DRAFT);
        let draft = PathBuf::from(draft);
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        create_folder(&draft)?;
        self.copy_snapshot(&survivor, &draft)?;
        self.copy_log(survivor, &draft).await?;
        Plate::open(&draft, &self.cluster, Uuid::now_v7())?.set_id(self.id)?;
        fs::rename(&draft, &self.path)?; // refused when something is there
        sync_folder(
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )
    }

    /// Whatever members there were: the new cluster begins with this one.
    fn alone(&self) -> Membership<NodeId, Member> {
        let nodes = BTreeMap::from([(self.id, self.member.clone())]);
        Membership::new(vec![BTreeSet::from([self.id])], nodes).expect("its only voter is among its nodes")
    }

    fn copy_snapshot(&self, survivor: &Survivor, draft: &Path) -> io::Result<()> {
        let Some(snapshot) = survivor.snapshots.current()? else { return Ok(()) };
        let old = snapshot.meta();
        let membership = StoredMembershipOf::<Types>::new(*old.last_membership.log_id(), self.alone());
        let meta = Meta { last_log_id: old.last_log_id, last_membership: membership };
        let kept = Snapshots::open(&draft.join("snapshots"))?;
        snapshot.read(|state| kept.write(&meta, |to| io::copy(state, to).map(drop)).map(drop))
    }

    async fn copy_log(&self, mut survivor: Survivor, draft: &Path) -> io::Result<()> {
        let mut log = Log::open(&draft.join("log"), crate::Durability::Sync)?;
        if let Some(purged) = survivor.purged {
            log.purge(purged).await?;
        }
        let mut next = survivor.purged.map_or(0, |purged| purged.index + 1);
        loop {
            let mut entries = survivor.log.limited_get_log_entries(next, u64::MAX).await?;
            let Some(last) = entries.last() else { break };
            next = last.log_id.index + 1;
            for entry in &mut entries {
                if let EntryPayload::Membership(members) = &mut entry.payload {
                    *members = self.alone();
                }
            }
            log.append(entries, IOFlushed::noop()).await?;
        }
        // Waits until all before it is on the disk. No leader of the lost cluster comes before it in a term.
        let voted = survivor.log.read_vote().await?.map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(survivor.last.map_or(0, |last| last.leader_id.term));
        log.save_vote(&VoteOf::<Types>::new(term, self.id)).await
    }
}

impl Survivor {
    async fn open(folder: &Path, cluster: &str) -> Result<Self, Error> {
        let known = Plate::read(folder).map_err(|error| unusable(folder, &error))?;
        if known.cluster == cluster {
            return Err(Error::config(format!(
                "`recover_from` names {}, of the cluster {cluster:?}: give the new cluster another `name`, by which \
                 the members of the lost one are refused",
                folder.display()
            )));
        }
        Self::open_all(folder).await.map_err(|error| unusable(folder, &error))
    }

    /// The log is locked: the survivor must have stopped.
    async fn open_all(folder: &Path) -> io::Result<Self> {
        let mut log = Log::open(&folder.join("log"), crate::Durability::Sync)?;
        let snapshots = Snapshots::open(&folder.join("snapshots"))?;
        let state = log.get_log_state().await?;
        let (purged, last) = (state.last_purged_log_id, state.last_log_id);
        if last.is_none() {
            return Err(io::Error::other("it took part in no cluster: its log is empty"));
        }
        Ok(Self { folder: folder.to_owned(), log, snapshots, purged, last })
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Error {
    Error::storage(format!("`recover_from` names {}, which cannot be used: {error}", folder.display()))
}
