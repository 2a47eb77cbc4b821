//! A folder of a rollup index: tantivy's own directory, but for how files come to the disk.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::tantivy::directory::error::{OpenDirectoryError, OpenWriteError};
use ::tantivy::directory::{AntiCallToken, Directory, MmapDirectory, TerminatingWrite, WritePtr};

use super::directory::pass_on_to_inner;
use crate::sync::{Arc, Mutex};

/// How much of a file there is at most that was written and is not on disk.
const MOST_UNSYNCED: usize = 1 << 19;

/// The files of an inverted index, which rolled-up documents do not have: those of one segment are those of the next.
const ALIKE: [&str; 4] = ["fieldnorm", "idx", "pos", "term"];

/// Tantivy syncs a file when it is complete. That of a large one cannot be broken off: whoever gives the file up, or
/// the commit that waits for it, would wait for all of it. Here a file is synced bit by bit while it is written.
///
/// To create files and to sync them is most of what a small commit costs: a file that is like the one of the segment
/// before becomes another name of that one.
///
/// And tantivy remembers the name of each file that was ever open: after years of small commits, millions.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    inner: MmapDirectory,
    path: PathBuf,
    /// Of the files that may be alike, by extension, the last one.
    last: Arc<Mutex<HashMap<OsString, Last>>>,
}

/// A file that is on disk, and what is in it.
#[derive(Debug)]
struct Last {
    path: PathBuf,
    content: Vec<u8>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match MmapDirectory::open(path) {
            Ok(inner) => Ok(Self { inner, path: path.to_owned(), last: Arc::default() }),
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
        if let Some(extension) = path.extension().filter(|extension| ALIKE.iter().any(|alike| extension == alike)) {
            let (path, extension) = (self.path.join(path), extension.to_owned());
            let file = AlikeFile { path, extension, content: Vec::new(), last: Arc::clone(&self.last) };
            return Ok(BufWriter::new(Box::new(file)));
        }
        let file = create(&self.path.join(path)).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(error, path.to_owned()),
        })?;
        Ok(BufWriter::new(Box::new(file)))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        // Asked which files are open, tantivy forgets the others. A commit comes by here.
        drop(self.inner.get_cache_info());
        self.inner.atomic_write(path, data)
    }
}

fn create(path: &Path) -> io::Result<SyncedFile> {
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(SyncedFile { file, unsynced: 0 })
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

/// A file that may be like the last one. It is there once it is complete.
struct AlikeFile {
    path: PathBuf,
    extension: OsString,
    content: Vec<u8>,
    last: Arc<Mutex<HashMap<OsString, Last>>>,
}

impl Write for AlikeFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.content.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for AlikeFile {
    fn terminate_ref(&mut self, token: AntiCallToken) -> io::Result<()> {
        let (path, content) = (self.path.clone(), std::mem::take(&mut self.content));
        let mut last = self.last.lock();
        let alike = last.get_mut(&self.extension).filter(|last| last.content == content);
        // The last one may be gone by now, and not every file system gives a file two names.
        if let Some(alike) = alike
            && fs::hard_link(&alike.path, &path).is_ok()
        {
            alike.path = path;
            return Ok(());
        }
        let mut file = create(&path)?;
        file.write_all(&content)?;
        file.terminate_ref(token)?;
        last.insert(self.extension.clone(), Last { path, content });
        Ok(())
    }
}
