//! How far a node's handlers have come.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::{BoxFuture, MarkStore, StoreError};
use uuid::Uuid;

use crate::reply::Reply;
use crate::script::Script;
use crate::stores::Stores;

/// The largest mark that is stored.
pub const MARK_BYTES_MAX: usize = 1024 * 1024;
/// How long a mark outlives its last write.
pub(crate) const RETENTION: Duration = Duration::from_secs(60 * 24 * 60 * 60);

static SAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/mark_save.lua")));

impl MarkStore for Stores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        Box::pin(async move {
            let key = self.inner.keys.mark(scope);
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(key).arg("version").arg("record");
            let mut reply = Reply::new(self.command(&cmd).await?);
            let version: Option<u64> = reply.next()?;
            let record: Option<Vec<u8>> = reply.next()?;
            Ok(record.map(Bytes::from).zip(version))
        })
    }

    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            if record.len() > MARK_BYTES_MAX {
                let len = record.len();
                return Err(StoreError::refused(format!(
                    "a mark of {len} bytes is larger than {MARK_BYTES_MAX}"
                )));
            }
            let key = self.inner.keys.mark(scope);
            let expected = expected.map(|version| version.to_string()).unwrap_or_default();
            // So that a repeat after a lost answer is not taken for another writer.
            let call = Uuid::now_v7().to_string();
            let retention = RETENTION.as_millis().to_string();
            let args = [expected.as_bytes(), &record, call.as_bytes(), retention.as_bytes()];
            let version: i64 = self.run(&SAVE, &[&key], &args).await?.next()?;
            u64::try_from(version).map_err(|_| StoreError::conflict())
        })
    }
}
