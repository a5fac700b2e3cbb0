use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::NodeId;

const FILE: &str = "node";
const HEAD: &str = "convoke cluster node 1";
/// Longer than any plate.
const BYTES_MAX: u64 = 4096;

/// Whose state a folder holds. Without it, a node that lost its disk could not be told from one that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plate {
    /// `None`: in memory.
    path: Option<PathBuf>,
    pub(crate) cluster: String,
    /// The name of this disk, made up when it was empty.
    pub(crate) disk: Uuid,
    /// The node's number, once it is known.
    pub(crate) id: Option<NodeId>,
}

impl Plate {
    /// For a node that keeps nothing: each run is a new disk.
    pub(crate) fn in_memory(cluster: &str, disk: Uuid) -> Self {
        Self { path: None, cluster: cluster.to_owned(), disk, id: None }
    }

    /// The plate of this folder, made when there is none. Blocks: for the start of a node.
    ///
    /// # Errors
    /// What the disk says, or that the folder is another cluster's.
    pub(crate) fn open(folder: &Path, cluster: &str, new: Uuid) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        match read(&path) {
            Ok(text) => {
                let plate = parse(&text).ok_or_else(|| unreadable(&path))?;
                if plate.cluster != cluster {
                    let text =
                        format!("{} holds the state of the cluster {:?}", folder.display(), plate.cluster);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Ok(Self { path: Some(path), ..plate })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let plate = Self { path: Some(path), cluster: cluster.to_owned(), disk: new, id: None };
                plate.write()?;
                Ok(plate)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether this folder holds a state.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// The plate of a folder that must have one, to look at it.
    ///
    /// # Errors
    /// What the disk says, or that it is damaged.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        parse(&read(&path)?).ok_or_else(|| unreadable(&path))
    }

    /// Writes the node's number down, for good.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn set_id(&mut self, id: NodeId) -> io::Result<()> {
        if self.id == Some(id) {
            return Ok(());
        }
        self.id = Some(id);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let draft = path.with_extension("draft");
        let mut file = File::create(&draft)?;
        let id = self.id.map(|id| format!("id {id}\n")).unwrap_or_default();
        write!(file, "{HEAD}\ncluster {}\ndisk {}\n{id}", self.cluster, self.disk)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The name is on the disk only when its folder is.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(unreadable(path));
    }
    fs::read_to_string(path)
}

fn unreadable(path: &Path) -> io::Error {
    let text =
        format!("{} is not what a node of a cluster wrote there, or a later version did", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn parse(text: &str) -> Option<Plate> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return None;
    }
    let cluster = lines.next()?.strip_prefix("cluster ")?.to_owned();
    let disk = lines.next()?.strip_prefix("disk ")?.parse().ok()?;
    let id = match lines.next() {
        Some(line) => Some(line.strip_prefix("id ")?.parse().ok()?),
        None => None,
    };
    Some(Plate { path: None, cluster, disk, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_remembers_whose_it_is() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Uuid::now_v7();
        let mut plate = Plate::open(folder.path(), "orders", disk).expect("it is empty");
        assert_eq!((plate.disk, plate.id), (disk, None));
        plate.set_id(3).expect("it can be written");
        let again = Plate::open(folder.path(), "orders", Uuid::now_v7()).expect("it is there");
        assert_eq!((again.disk, again.id), (disk, Some(3)));
    }

    #[test]
    fn another_clusters_folder_and_a_damaged_plate_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Plate::open(folder.path(), "orders", Uuid::now_v7()).expect("it is empty");
        let error = Plate::open(folder.path(), "stock", Uuid::now_v7()).expect_err("it is not ours");
        assert!(error.to_string().contains("\"orders\""), "{error}");
        for text in ["", "convoke cluster node 2\n", "convoke cluster node 1\ncluster orders\n"] {
            fs::write(folder.path().join(FILE), text).expect("it can be written");
            let error = Plate::open(folder.path(), "orders", Uuid::now_v7()).expect_err("it is damaged");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}
