use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Meta, SnapshotFile, Source,
    blocks::{BlockReader, BlockWriter},
    draft::Draft,
};
use crate::engine::disk::unwritable;

const KEPT: &str = "snapshot";
const DRAFT: &str = "snapshot-draft";

/// Where the snapshots of a node lie: the current one, and what is being built or received.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None`: in memory.
    folder: Option<PathBuf>,
    drafts: AtomicU64,
    current: Mutex<Option<Current>>,
    built: AtomicU64,
    installed: AtomicU64,
    build_micros: AtomicU64,
    bytes: AtomicU64,
}

/// What a node's snapshots cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnapshotMetrics {
    /// Snapshots that were built since the start.
    pub(crate) built: u64,
    /// Snapshots that this node took over since the start: its own when it started, and those of others.
    pub(crate) installed: u64,
    /// What the last one took.
    pub(crate) last_build: Duration,
    /// How long the one in force is.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Current {
    meta: Meta,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(bytes::Bytes),
    File(PathBuf),
}

impl Snapshots {
    /// For a node whose state is in memory only, and for simulations: no threads, no disk.
    pub(crate) fn in_memory() -> Self {
        Self::new(None, None)
    }

    /// Those in a folder, of which nobody else makes use. Blocks: for the start of a node.
    ///
    /// # Errors
    /// What the disk says, or a damaged snapshot: the log before it is gone, so that there is nothing to go on from.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        create_folder(folder)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(DRAFT) => fs::remove_file(&path)?,
                Some(KEPT) => kept.push(path),
                _ => {}
            }
        }
        kept.sort();
        let current = kept.pop().map(Current::at).transpose()?;
        for older in kept {
            fs::remove_file(older)?;
        }
        Ok(Self::new(Some(folder.to_owned()), current))
    }

    fn new(folder: Option<PathBuf>, current: Option<Current>) -> Self {
        let bytes = match &current {
            Some(Current { place: Place::File(path), .. }) => fs::metadata(path).map_or(0, |file| file.len()),
            _ => 0,
        };
        let inner = Inner {
            folder,
            drafts: AtomicU64::new(0),
            current: Mutex::new(current),
            built: AtomicU64::new(0),
            installed: AtomicU64::new(0),
            build_micros: AtomicU64::new(0),
            bytes: AtomicU64::new(bytes),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The one in force, open for reading.
    pub(crate) fn current(&self) -> io::Result<Option<SnapshotFile>> {
        let current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = &*current else { return Ok(None) };
        let source = match &current.place {
            Place::Memory(bytes) => Source::Memory(bytes.clone()),
            Place::File(path) => {
                let file = File::open(path).map_err(|error| at(path, &error))?;
                Source::File { file, draft: None }
            }
        };
        SnapshotFile::new(current.meta.clone(), source).map(Some)
    }

    /// How far the one in force reaches.
    #[cfg(test)]
    pub(crate) fn current_meta(&self) -> Option<Meta> {
        let current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|current| current.meta.clone())
    }

    /// Writes one and puts it in force. Blocks, unless in memory.
    ///
    /// # Errors
    /// What the disk or the state says, where, and what to do.
    pub(crate) fn write(
        &self,
        meta: &Meta,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotFile> {
        self.build(meta, state)
            .and_then(|snapshot| self.replace(snapshot))
            .map_err(|error| self.unwritable(error))
    }

    fn build(
        &self,
        meta: &Meta,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotFile> {
        let from = Instant::now();
        let mut blocks = BlockWriter::begin(self.draft()?, meta)?;
        state(&mut blocks)?;
        let snapshot = SnapshotFile::new(meta.clone(), blocks.finish()?.seal()?)?;
        self.inner.built.fetch_add(1, Relaxed);
        self.inner.build_micros.store(u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        Ok(snapshot)
    }

    pub(super) fn draft(&self) -> io::Result<Draft> {
        let Some(folder) = &self.inner.folder else { return Ok(Draft::Memory(Vec::new())) };
        let number = self.inner.drafts.fetch_add(1, Relaxed);
        Draft::file(folder.join(format!("{number}.{DRAFT}")))
    }

    /// Puts a snapshot in force, unless one that reaches further is. Blocks, unless in memory.
    ///
    /// # Errors
    /// What the disk says, where, and what to do.
    pub(crate) fn publish(&self, snapshot: SnapshotFile) -> io::Result<SnapshotFile> {
        self.replace(snapshot).map_err(|error| self.unwritable(error))
    }

    fn replace(&self, snapshot: SnapshotFile) -> io::Result<SnapshotFile> {
        let mut current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.meta.last_log_id > snapshot.meta.last_log_id) {
            return Ok(snapshot);
        }
        let in_force = current.as_ref().is_some_and(|current| current.meta == snapshot.meta);
        let SnapshotFile { meta, bytes, source } = snapshot;
        let source = match source {
            Source::File { mut file, draft: None } if !in_force => self.copy(&mut file)?,
            source => source,
        };
        let (source, place) = match (source, &self.inner.folder) {
            (Source::File { file, draft: Some(mut draft) }, Some(folder)) => {
                let path = folder.join(name(&meta));
                fs::rename(&draft.path, &path)?;
                draft.kept = true;
                sync_folder(folder)?;
                (Source::File { file, draft: None }, Place::File(path))
            }
            (Source::Memory(bytes), _) => (Source::Memory(bytes.clone()), Place::Memory(bytes)),
            // Already in its place: it is the one in force.
            (source, _) => return Ok(SnapshotFile { meta, bytes, source }),
        };
        self.inner.bytes.store(bytes, Relaxed);
        let replaced = current.replace(Current { meta: meta.clone(), place });
        drop(current);
        if let Some(Current { meta: old, place: Place::File(path) }) = replaced
            && name(&old) != name(&meta)
        {
            // Readers keep it open. When this fails, the next start removes it.
            let _ = fs::remove_file(path);
        }
        Ok(SnapshotFile { meta, bytes, source })
    }

    /// The state is now what was in a snapshot.
    pub(crate) fn count_installed(&self) {
        self.inner.installed.fetch_add(1, Relaxed);
    }

    /// What was built since the start, and what is in force.
    pub(crate) fn metrics(&self) -> SnapshotMetrics {
        SnapshotMetrics {
            built: self.inner.built.load(Relaxed),
            installed: self.inner.installed.load(Relaxed),
            last_build: Duration::from_micros(self.inner.build_micros.load(Relaxed)),
            bytes: self.inner.bytes.load(Relaxed),
        }
    }

    /// Says where, when a snapshot could not be read.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        match &self.inner.folder {
            Some(folder) if error.kind() == io::ErrorKind::InvalidData => at(folder, &error),
            _ => error,
        }
    }

    /// The engine ends when a snapshot cannot be written: it says where that was, and what to do.
    fn unwritable(&self, error: io::Error) -> io::Error {
        match &self.inner.folder {
            Some(folder) => unwritable("snapshot", folder, &error),
            None => error,
        }
    }

    /// One that lies in another folder.
    fn copy(&self, file: &mut File) -> io::Result<Source> {
        let mut draft = self.draft()?;
        io::copy(file, &mut draft)?;
        draft.seal()
    }

    /// Runs what may wait for the disk where waiting is allowed; in memory, right here.
    pub(crate) async fn off_the_path<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self.inner.folder {
            None => work(),
            Some(_) => tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?,
        }
    }
}

impl SnapshotFile {
    pub(super) fn new(meta: Meta, source: Source) -> io::Result<Self> {
        let bytes = match &source {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File { file, .. } => file.metadata()?.len(),
        };
        Ok(Self { meta, bytes, source })
    }
}

impl Source {
    /// The same, at its beginning: the place where one reads is shared by clones of a handle.
    pub(super) fn reopen(&self) -> io::Result<Self> {
        match self {
            Self::Memory(bytes) => Ok(Self::Memory(bytes.clone())),
            Self::File { draft: Some(draft), .. } => {
                Ok(Self::File { file: File::open(&draft.path)?, draft: None })
            }
            Self::File { draft: None, .. } => {
                Err(io::Error::other("only what is not in its place is read again"))
            }
        }
    }
}

impl Current {
    fn at(path: PathBuf) -> io::Result<Self> {
        let open = || BlockReader::open(io::BufReader::new(File::open(&path)?));
        let (meta, _) = open().map_err(|error| at(&path, &error))?;
        Ok(Self { meta, place: Place::File(path) })
    }
}

/// Sorts by index.
fn name(meta: &Meta) -> String {
    let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{index:020}-{term:020}.{KEPT}")
}

/// A folder for nobody but us, and there after a power cut.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::Error::other(format!("{} cannot be created", folder.display()))),
    };
    create_folder(parent)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Another node of this machine made it at the same time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync_folder(parent)
}

/// A renamed or removed file is so after a power cut only when its folder was synced.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    let advice = "stop the node, move its data away and let it join again as a new member";
    io::Error::new(error.kind(), format!("{}: {error}; {advice}", path.display()))
}
