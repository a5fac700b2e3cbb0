use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::machine::{Notes, replica};
use crate::{
    Durability,
    engine::{log::Log, replica::Replica, snapshot::Snapshots, types::Types},
};

struct InMemory;

impl StoreBuilder<Types, Log, Replica<Notes>> for InMemory {
    async fn build(&self) -> Result<((), Log, Replica<Notes>), StorageError<Types>> {
        let (replica, _) = replica(Snapshots::in_memory());
        Ok(((), Log::in_memory(), replica))
    }
}

struct OnDisk;

impl StoreBuilder<Types, Log, Replica<Notes>, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, Log, Replica<Notes>), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let log = Log::open(&folder.path().join("log"), Durability::Sync).expect("it is empty");
        let (replica, _) = replica(Snapshots::open(&folder.path().join("snapshots")).expect("it is empty"));
        Ok((folder, log, replica))
    }
}

#[tokio::test]
async fn openraft_is_content_with_the_storage_in_memory() {
    Suite::test_all(InMemory).await.expect("openraft's own suite");
}

#[tokio::test]
async fn openraft_is_content_with_the_storage_on_disk() {
    Suite::test_all(OnDisk).await.expect("openraft's own suite");
}
