use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::machine::{Notes, replica};
use crate::engine::{log::Log, replica::Replica, snapshot::Snapshots, types::Types};

struct InMemory;

impl StoreBuilder<Types, Log, Replica<Notes>> for InMemory {
    async fn build(&self) -> Result<((), Log, Replica<Notes>), StorageError<Types>> {
        let (replica, _) = replica(Snapshots::in_memory());
        Ok(((), Log::in_memory(), replica))
    }
}

struct SnapshotsOnDisk;

impl StoreBuilder<Types, Log, Replica<Notes>, TempDir> for SnapshotsOnDisk {
    async fn build(&self) -> Result<(TempDir, Log, Replica<Notes>), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (replica, _) = replica(Snapshots::open(folder.path()).expect("it is empty"));
        Ok((folder, Log::in_memory(), replica))
    }
}

#[tokio::test]
async fn openraft_is_content_with_the_storage_in_memory() {
    Suite::test_all(InMemory).await.expect("openraft's own suite");
}

#[tokio::test]
async fn openraft_is_content_with_the_storage_on_disk() {
    Suite::test_all(SnapshotsOnDisk).await.expect("openraft's own suite");
}
