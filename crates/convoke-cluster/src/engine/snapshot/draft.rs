use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use super::Source;

/// A snapshot that is being written. Dropped before it is sealed, it leaves nothing.
#[derive(Debug)]
pub(super) enum Draft {
    Memory(Vec<u8>),
    File { file: BufWriter<File>, draft: DraftFile },
}

/// A file that is removed unless it is kept.
#[derive(Debug)]
pub(super) struct DraftFile {
    pub(super) path: PathBuf,
    pub(super) kept: bool,
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Draft {
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        let draft = DraftFile { path, kept: false };
        Ok(Self::File { file: BufWriter::with_capacity(super::blocks::BLOCK_BYTES, file), draft })
    }

    /// What was written, on the disk and open at its beginning, but not yet in its place.
    pub(super) fn seal(self) -> io::Result<Source> {
        match self {
            Self::Memory(bytes) => Ok(Source::Memory(bytes.into())),
            Self::File { file, draft } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
                Ok(Source::File { file: File::open(&draft.path)?, draft: Some(draft) })
            }
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Memory(to) => to.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File { file, .. } => file.flush(),
        }
    }
}
