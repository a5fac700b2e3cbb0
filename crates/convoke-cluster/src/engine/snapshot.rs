//! Snapshots of the replicated state: files that are written once, read in blocks, and sent in chunks.

mod blocks;
mod draft;
mod folder;
mod transfer;

use std::{
    fs::File,
    io::{self, Read},
};

use bytes::Bytes;
use openraft::alias::SnapshotMetaOf;

use self::{blocks::BlockReader, draft::DraftFile};
pub(crate) use self::{
    folder::{Snapshots, create_folder, sync_folder},
    transfer::Receiving,
};
use crate::engine::types::Types;

/// How far a snapshot reaches, and who was a member there.
pub(crate) type Meta = SnapshotMetaOf<Types>;

/// A snapshot, complete and checked, open for reading. Stays readable when a newer one takes its place.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    meta: Meta,
    bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    /// With a draft while it is not in its place: dropped, it is removed.
    File {
        file: File,
        draft: Option<DraftFile>,
    },
}

impl SnapshotFile {
    /// How far it reaches.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives what was written by [`Snapshots::write`] to `restore`, and looks that nothing is missing.
    pub(crate) fn read(self, restore: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        let (_, mut blocks) = self.source.blocks()?;
        restore(&mut blocks)?;
        blocks.finish()
    }
}

impl Source {
    /// From the first one on.
    fn blocks(self) -> io::Result<(Meta, BlockReader<Box<dyn Read + Send>>)> {
        let reader: Box<dyn Read + Send> = match self {
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::File { file, .. } => Box::new(io::BufReader::with_capacity(blocks::BLOCK_BYTES, file)),
        };
        BlockReader::open(reader)
    }
}
