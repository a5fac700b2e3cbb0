use std::hash::{BuildHasherDefault, Hasher};

/// Hashes wire names of this program's own types: nobody else chooses them, so speed is all that counts.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

/// For maps by wire name.
pub(crate) type ByName = BuildHasherDefault<NameHasher>;

const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
        }
    }

    fn write_u8(&mut self, _: u8) {} // ends each text; nothing follows it here

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
