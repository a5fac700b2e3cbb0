use super::{Kv, Write, put::Put};
use crate::{Error, locks::FencedStore};

/// Compares the fence and writes in one command, under the lock's name.
impl FencedStore for Kv {
    type Write = Write;
    /// The place of the write in the log: the version of the value.
    type Written = u64;
    type Error = Error;

    async fn write_fenced(&self, lock: &str, fence: u64, write: Write) -> Result<u64, Error> {
        Put::new(self, write).fence(lock, fence).await
    }
}
