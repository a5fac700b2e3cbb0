use std::{io, path::Path};

use tracing::error;

/// What everybody is told when something of the node cannot be written: where, why, and what to do.
pub(super) fn unwritable(what: &str, folder: &Path, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room, then start the node again",
        _ => "look at the disk, then start the node again",
    };
    let folder = folder.display();
    error!(%folder, %error, advice, "the {what} cannot be written, the node stops");
    let text = format!("the {what} in {folder} cannot be written: {error}; the node stops: {advice}");
    io::Error::new(error.kind(), text)
}
