//! A folder of a rollup index: tantivy's own directory, but for how files come to the disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::tantivy::directory::error::{OpenDirectoryError, OpenWriteError};
use ::tantivy::directory::{AntiCallToken, Directory, MmapDirectory, TerminatingWrite, WritePtr};

use super::directory::pass_on_to_inner;

/// How much of a file there is at most that was written and is not on disk.
const MOST_UNSYNCED: usize = 1 << 19;

/// Tantivy syncs a file when it is complete. That of a large one cannot be broken off: whoever gives the file up, or
/// the commit that waits for it, would wait for all of it. Here a file is synced bit by bit while it is written.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    inner: MmapDirectory,
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match MmapDirectory::open(path) {
            Ok(inner) => Ok(Self { inner, path: path.to_owned() }),
            Err(OpenDirectoryError::IoError { io_error, .. }) => Err(io::Error::new(io_error.kind(), io_error)),
            Err(OpenDirectoryError::DoesNotExist(path)) => {
                Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string()))
            }
            Err(other) => Err(io::Error::other(other)),
        }
    }
}

impl Directory for Folder {
    pass_on_to_inner!();

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = fs::OpenOptions::new().write(true).create_new(true).open(self.path.join(path));
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(error, path.to_owned()),
        })?;
        Ok(BufWriter::new(Box::new(SyncedFile { file, unsynced: 0 })))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.inner.atomic_write(path, data)
    }
}

struct SyncedFile {
    file: File,
    unsynced: usize,
}

impl Write for SyncedFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(&data[..data.len().min(MOST_UNSYNCED)])?;
        self.unsynced += written;
        if self.unsynced >= MOST_UNSYNCED {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TerminatingWrite for SyncedFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.file.sync_data()
    }
}
