//! The directory below a rollup index: durable when it says so, and able to give a merge up.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::tantivy::directory::error::OpenWriteError;
use ::tantivy::directory::{AntiCallToken, Directory, TerminatingWrite, WritePtr};

use super::META;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// Wraps tantivy's own directory for three things that it does not do.
///
/// Tantivy renames a new `meta.json` into its place and does not sync the directory: a power cut could undo a commit
/// that was reported. And it cannot break off a merge: here a merge gets a [`GiveUp`], after which writing to its
/// files fails, which ends it soon and leaves the index as it was. And before each new file it writes, durably, the
/// list of all files that it would have to remove some day: here a segment's files are put on it together.
#[derive(Clone, Debug)]
pub(super) struct RollupDirectory {
    inner: Box<dyn Directory>,
    /// What the files that are opened from now on belong to.
    work: Arc<Mutex<GiveUp>>,
    /// The last write that failed. tantivy writes on threads of its own and does not always pass the reason on.
    failure: Failure,
    listed: Arc<Mutex<Listed>>,
}

/// The files that tantivy removes once no segment has them: a name too many does no harm.
#[derive(Debug, Default)]
struct Listed {
    /// Those on the list as it is on disk, as far as that is known.
    on_disk: HashSet<PathBuf>,
    /// Those that are about to be created.
    expected: Vec<PathBuf>,
}

type Failure = Arc<Mutex<Option<String>>>;

/// Ends one piece of work, and no later one, however late it is called.
#[derive(Clone, Debug, Default)]
pub(super) struct GiveUp(Arc<AtomicBool>);

impl GiveUp {
    pub(super) fn give_up(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// An error once it is given up.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up because of a stop"));
        }
        Ok(())
    }
}

impl RollupDirectory {
    pub(super) fn new(inner: Box<dyn Directory>) -> Self {
        Self { inner, work: Arc::default(), failure: Arc::default(), listed: Arc::default() }
    }

    /// Why a write failed since this was asked last, such as a full disk.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure.lock().take()
    }

    /// These files are about to be created.
    pub(super) fn expect(&self, files: impl IntoIterator<Item = PathBuf>) {
        self.listed.lock().expected.extend(files);
    }

    /// Writes the list, unless all of it is on disk already.
    fn write_list(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut listed = self.listed.lock();
        let mut files: HashSet<PathBuf> = serde_json::from_slice(data)?;
        if !listed.on_disk.is_empty() && files.is_subset(&listed.on_disk) {
            return Ok(());
        }
        files.extend(std::mem::take(&mut listed.expected));
        listed.on_disk.clear();
        self.inner.atomic_write(path, &serde_json::to_vec(&files)?)?;
        listed.on_disk = files;
        Ok(())
    }

    /// Begins a piece of work that can be given up.
    pub(super) fn begin_work(&self) -> GiveUp {
        let work = GiveUp::default();
        *self.work.lock() = work.clone();
        work
    }
}

/// What a directory that stands before another one, its `inner`, passes on: all but how files are written.
macro_rules! pass_on_to_inner {
    () => {
        fn get_file_handle(
            &self,
            path: &std::path::Path,
        ) -> Result<std::sync::Arc<dyn ::tantivy::directory::FileHandle>, ::tantivy::directory::error::OpenReadError> {
            self.inner.get_file_handle(path)
        }

        fn delete(&self, path: &std::path::Path) -> Result<(), ::tantivy::directory::error::DeleteError> {
            self.inner.delete(path)
        }

        fn exists(&self, path: &std::path::Path) -> Result<bool, ::tantivy::directory::error::OpenReadError> {
            self.inner.exists(path)
        }

        fn atomic_read(&self, path: &std::path::Path) -> Result<Vec<u8>, ::tantivy::directory::error::OpenReadError> {
            self.inner.atomic_read(path)
        }

        fn sync_directory(&self) -> std::io::Result<()> {
            self.inner.sync_directory()
        }

        fn acquire_lock(
            &self,
            lock: &::tantivy::directory::Lock,
        ) -> Result<::tantivy::directory::DirectoryLock, ::tantivy::directory::error::LockError> {
            self.inner.acquire_lock(lock)
        }

        fn watch(
            &self,
            callback: ::tantivy::directory::WatchCallback,
        ) -> ::tantivy::Result<::tantivy::directory::WatchHandle> {
            self.inner.watch(callback)
        }
    };
}

pub(super) use pass_on_to_inner;

impl Directory for RollupDirectory {
    pass_on_to_inner!();

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = self.inner.open_write(path).inspect_err(|error| note(&self.failure, error))?;
        Ok(BufWriter::new(Box::new(GivingUp {
            file,
            work: self.work.lock().clone(),
            failure: Arc::clone(&self.failure),
        })))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let written = match path.to_str() {
            Some(".managed.json") => self.write_list(path, data),
            Some(META) => self.inner.atomic_write(path, data).and_then(|()| self.inner.sync_directory()),
            _ => self.inner.atomic_write(path, data),
        };
        written.inspect_err(|error| note(&self.failure, error))
    }
}

struct GivingUp {
    file: WritePtr,
    work: GiveUp,
    failure: Failure,
}

fn note(failure: &Failure, error: &dyn std::error::Error) {
    *failure.lock() = Some(error.to_string());
}

impl Write for GivingUp {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.work.check()?;
        self.file.write(data).inspect_err(|error| note(&self.failure, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().inspect_err(|error| note(&self.failure, error))
    }
}

impl TerminatingWrite for GivingUp {
    fn terminate_ref(&mut self, token: AntiCallToken) -> io::Result<()> {
        self.file.terminate_ref(token).inspect_err(|error| note(&self.failure, error))
    }
}
