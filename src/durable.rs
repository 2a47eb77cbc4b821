//! What outlives a power cut.

use std::io;
use std::path::Path;

/// Makes the names in a folder durable: new, changed and removed ones. Where folders cannot be opened, as on Windows,
/// the file system sees to it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}
