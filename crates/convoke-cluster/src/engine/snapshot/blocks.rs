use std::io::{self, Read, Write};

use crc32fast::Hasher;

use super::Meta;

/// Bytes of the state in one block.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;

/// What a snapshot begins with; the last byte is the version of the format.
const MAGIC: [u8; 8] = *b"CVKSNAP\x01";

/// The blocks of a snapshot, each with a checksum that knows its number. The first one says how far the snapshot
/// reaches, an empty one is the last: a file that lost its end is noticed.
pub(super) struct BlockWriter<W: Write> {
    to: W,
    block: Vec<u8>,
    number: u32,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn begin(mut to: W, meta: &Meta) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        let mut writer = Self { to, block: Vec::with_capacity(BLOCK_BYTES), number: 0 };
        writer.put(&postcard::to_allocvec(meta).map_err(io::Error::other)?)?;
        Ok(writer)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.put_block()?;
        self.put(&[])?;
        Ok(self.to)
    }

    fn put_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        self.put(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        let bytes = u32::try_from(block.len()).map_err(io::Error::other)?;
        self.to.write_all(&bytes.to_le_bytes())?;
        self.to.write_all(&checksum(self.number, block).to_le_bytes())?;
        self.to.write_all(block)?;
        self.number =
            self.number.checked_add(1).ok_or_else(|| io::Error::other("the snapshot is too large"))?;
        Ok(())
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK_BYTES {
            self.put_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a block is written when it is full
    }
}

/// Reads what [`BlockWriter`] wrote, and gives out nothing that it has not checked.
pub(super) struct BlockReader<R: Read> {
    from: R,
    block: Vec<u8>,
    at: usize,
    number: u32,
    offset: u64,
    ended: bool,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn open(mut from: R) -> io::Result<(Meta, Self)> {
        let mut magic = MAGIC;
        from.read_exact(&mut magic).map_err(|error| damaged(0, &error.to_string()))?;
        if magic[..7] != MAGIC[..7] {
            return Err(damaged(0, "it does not begin like a snapshot"));
        }
        if magic[7] != MAGIC[7] {
            return Err(damaged(7, &format!("its format is version {}, known is {}", magic[7], MAGIC[7])));
        }
        let offset = MAGIC.len() as u64;
        let mut reader = Self { from, block: Vec::new(), at: 0, number: 0, offset, ended: false };
        reader.next_block()?;
        let meta =
            postcard::from_bytes(&reader.block).map_err(|error| damaged(offset, &error.to_string()))?;
        reader.at = reader.block.len();
        Ok((meta, reader))
    }

    /// Looks that the end is there, and nothing behind it.
    pub(super) fn finish(mut self) -> io::Result<()> {
        while !self.ended {
            self.next_block()?;
        }
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(damaged(self.offset, "there is more behind its end")),
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let mut head = [0; 8];
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(self.offset, "its end is missing"),
            _ => error,
        };
        self.from.read_exact(&mut head).map_err(cut)?;
        let [a, b, c, d, checksum_bytes @ ..] = head;
        let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        // The first block may be longer: a list of members has no limit of its own.
        if bytes > BLOCK_BYTES.max(if self.number == 0 { META_BYTES_MAX } else { 0 }) {
            return Err(damaged(self.offset, "a block is longer than blocks are"));
        }
        self.block.resize(bytes, 0);
        self.from.read_exact(&mut self.block).map_err(cut)?;
        if checksum(self.number, &self.block) != u32::from_le_bytes(checksum_bytes) {
            return Err(damaged(self.offset, "a checksum is wrong"));
        }
        self.at = 0;
        self.number = self.number.wrapping_add(1);
        self.offset += (head.len() + bytes) as u64;
        self.ended = bytes == 0;
        Ok(())
    }
}

/// The longest description of a snapshot: thousands of members.
const META_BYTES_MAX: usize = 4 * 1024 * 1024;

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let given = to.len().min(self.block.len() - self.at);
        to[..given].copy_from_slice(&self.block[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

fn checksum(number: u32, block: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&(block.len() as u64).to_le_bytes());
    hasher.update(block);
    hasher.finalize()
}

fn damaged(offset: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot is damaged at byte {offset}: {what}"))
}
