use std::{
    io,
    sync::{Mutex, PoisonError},
};

use openraft::{RaftSnapshotBuilder, alias::SnapshotOf};

use crate::{
    StateMachine,
    engine::{
        snapshot::{Meta, SnapshotFile, Snapshots},
        types::Types,
    },
    replicated::SystemImage,
};

/// Writes one picture of the state to a snapshot, while the state goes on.
pub(crate) struct Builder<M: StateMachine> {
    /// In a mutex for `Sync`, which pictures need not be.
    image: Mutex<Option<SystemImage<M::Image>>>,
    meta: Meta,
    snapshots: Snapshots,
}

impl<M: StateMachine> Builder<M> {
    pub(super) fn new(image: SystemImage<M::Image>, meta: Meta, snapshots: Snapshots) -> Self {
        Self { image: Mutex::new(Some(image)), meta, snapshots }
    }
}

impl<M: StateMachine> RaftSnapshotBuilder<Types> for Builder<M> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotFile>> {
        let image = self.image.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let image = image.ok_or_else(|| io::Error::other("one builder builds one snapshot"))?;
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let write = move || snapshots.write(&meta, |to| image.write(to));
        let snapshot = self.snapshots.off_the_path(write).await?;
        Ok(SnapshotOf::<Types, SnapshotFile> { meta: self.meta.clone(), snapshot })
    }
}
