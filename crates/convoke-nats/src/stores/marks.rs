//! How far a node's handlers have come.

use bytes::{BufMut, Bytes, BytesMut};
use convoke_core::{BoxFuture, MarkStore, StoreError};
use uuid::Uuid;

use super::{
    Stores,
    bucket::{Entry, Put},
    key,
};

/// The largest mark that is stored.
pub const MARK_BYTES_MAX: usize = 512 * 1024;

/// The form that is written, and the only one that is read.
const VERSION: u8 = 1;
/// Form, writer and the version it replaced; then the record.
const HEAD_BYTES: usize = 1 + 16 + 8;

impl MarkStore for Stores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        Box::pin(async move {
            let entry = self.inner.marks.last(&key::mark(scope)?, self.deadline()).await?;
            let Some(entry) = entry.filter(|entry| !entry.data.is_empty()) else { return Ok(None) };
            Ok(Some((read(&entry)?, entry.revision)))
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
            let expected = match expected {
                None => 0,
                // what the server would not read as a number, or as none, is no version it ever gave
                Some(version) if version == 0 || i64::try_from(version).is_err() => {
                    return Err(StoreError::conflict());
                }
                Some(version) => version,
            };
            self.save_mark(&key::mark(scope)?, &record, expected).await
        })
    }
}

impl Stores {
    async fn save_mark(&self, name: &str, record: &[u8], expected: u64) -> Result<u64, StoreError> {
        let (marks, deadline) = (&self.inner.marks, self.deadline());
        let data = written(self.inner.writer, expected, record);
        if let Put::Stored(revision) = marks.put(name, data.clone(), expected, None, deadline).await? {
            return Ok(revision);
        }
        let entry = marks.last(name, deadline).await?.ok_or_else(StoreError::conflict)?;
        if entry.data == data {
            return Ok(entry.revision); // the answer to the same call was lost
        }
        if expected != 0 || !entry.data.is_empty() {
            return Err(StoreError::conflict());
        }
        // there is none but what is left of a deleted one
        match marks.put(name, data, entry.revision, None, deadline).await? {
            Put::Stored(revision) => Ok(revision),
            Put::Changed => Err(StoreError::conflict()),
        }
    }
}

fn written(writer: Uuid, replaced: u64, record: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(HEAD_BYTES + record.len());
    data.put_u8(VERSION);
    data.put_slice(writer.as_bytes());
    data.put_u64(replaced);
    data.put_slice(record);
    data.freeze()
}

fn read(entry: &Entry) -> Result<Bytes, StoreError> {
    if entry.data.len() < HEAD_BYTES || entry.data[0] != VERSION {
        return Err(StoreError::refused("a stored mark is none of ours"));
    }
    Ok(entry.data.slice(HEAD_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_what_we_did_not_write_is_told() {
        let entry = |data| Entry { revision: 1, at: 0, data };
        for record in [&b""[..], b"up to 17"] {
            assert_eq!(read(&entry(written(Uuid::nil(), 7, record))).expect("ours"), record);
        }
        for other in [&b"\x01short"[..], &[2; HEAD_BYTES]] {
            assert!(read(&entry(Bytes::from_static(b"x"))).is_err());
            assert!(read(&entry(other.to_vec().into())).is_err());
        }
    }
}
