//! A disk in memory that forgets what was not synced when its power is cut, and can be full, short and unreadable:
//! files, their names in directories, and one file for redb.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rollup_jobs::engine::tantivy::tantivy;
use rollup_jobs::engine::tantivy::tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use rollup_jobs::engine::tantivy::tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};
use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage};
use rollup_jobs::store::{OpenRedbError, RedbStore};

/// What is left of the things that were not synced when the power went: a disk may have got any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    Everything,
    /// Names that were removed are gone; nothing new is there. Every other write to a file got through.
    Removals,
    /// New names are there, and what was removed too. Every other write to a file got through.
    Additions,
}

#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    /// What programs see, and what is on the plates.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    locks: BTreeSet<PathBuf>,
    /// Changes so far, and the one at which the power goes.
    changes: u64,
    cut_at: Option<u64>,
    reads: u64,
    unreadable_at: Option<u64>,
    failed_to_read: bool,
    full_from: Option<u64>,
    short_writes: bool,
}

#[derive(Default, Clone)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Inode {
    fn with(data: Vec<u8>) -> Self {
        Self { now: data.clone(), durable: data, unsynced: Vec::new() }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
    }

    fn after_cut(&self, left: Left) -> Self {
        let mut data = self.durable.clone();
        let parity = usize::from(left == Left::Removals);
        match left {
            Left::Nothing => {}
            Left::Everything => data.clone_from(&self.now),
            Left::Removals | Left::Additions => {
                let some = self.unsynced.iter().enumerate().filter(|(at, _)| at % 2 == parity);
                some.for_each(|(_, change)| apply(&mut data, change));
            }
        }
        Self::with(data)
    }
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => data.resize(*length, 0),
        Change::Write(at, bytes) => {
            data.resize(data.len().max(at + bytes.len()), 0);
            data[*at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl State {
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        if self.cut_at.is_some_and(|cut| self.changes >= cut) {
            return Err(io::Error::other("the power is off"));
        }
        if self.is_full() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.full_from.is_some_and(|full| self.changes >= full)
    }

    fn read(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.unreadable_at == Some(self.reads) { Err(io::Error::other("planned read error")) } else { Ok(()) }
    }

    fn create(&mut self, path: &Path, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.names.insert(path.to_owned(), self.inodes.len() - 1);
        self.inodes.len() - 1
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Cuts the power at the `n`-th change: it and all later ones fail.
    pub fn cut_at(&self, n: u64) {
        self.lock().cut_at = Some(n);
    }

    pub fn is_cut(&self) -> bool {
        let state = self.lock();
        state.cut_at.is_some_and(|cut| state.changes >= cut)
    }

    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Is full from the `n`-th change on.
    pub fn full_from(&self, n: u64) {
        self.lock().full_from = Some(n);
    }

    pub fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    pub fn make_room(&self) {
        self.lock().full_from = None;
    }

    pub fn write_short(&self) {
        self.lock().short_writes = true;
    }

    /// Fails the `n`-th read.
    pub fn unreadable_at(&self, n: u64) {
        self.lock().unreadable_at = Some(n);
    }

    pub fn never_unreadable(&self) {
        let mut state = self.lock();
        state.failed_to_read = state.unreadable_at.take().is_some_and(|at| state.reads >= at);
    }

    pub fn has_failed_to_read(&self) -> bool {
        self.lock().failed_to_read
    }

    /// The disk as it is found when the power is back.
    pub fn after_cut(&self, left: Left) -> Self {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        if matches!(left, Left::Everything | Left::Removals) {
            names.retain(|path, _| state.names.contains_key(path));
        }
        if matches!(left, Left::Everything | Left::Additions) {
            names.extend(state.names.clone());
        }
        let inodes = state.inodes.iter().map(|inode| inode.after_cut(left)).collect();
        Self(Arc::new(Mutex::new(State { inodes, durable_names: names.clone(), names, ..State::default() })))
    }

    fn directory(&self, place: &RollupPlace) -> DiskDirectory {
        DiskDirectory { disk: self.clone(), folder: folder(place) }
    }

    /// The file of a job store, created as [`RedbStore::open`] creates it: under another name first, linked when it
    /// is whole.
    pub fn store(&self) -> Result<RedbStore, OpenRedbError> {
        let path = Path::new("jobs.redb");
        let known = self.lock().names.get(path).copied();
        let inode = match known {
            Some(inode) => inode,
            None => {
                let inode = self.lock().create(Path::new("jobs.redb.new"), Inode::default());
                drop(RedbStore::open_on(StoreFile { disk: self.clone(), inode })?);
                let mut state = self.lock();
                state.names.insert(path.to_owned(), inode);
                if state.change().is_ok() {
                    state.durable_names.insert(path.to_owned(), inode);
                }
                inode
            }
        };
        RedbStore::open_on(StoreFile { disk: self.clone(), inode })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

fn folder(place: &RollupPlace) -> PathBuf {
    Path::new(&place.rollup_index).join(&place.job_id)
}

impl RollupStorage for Disk {
    fn holds(&self, rollup_index: &str) -> bool {
        self.lock().names.keys().any(|path| path.starts_with(rollup_index))
    }

    fn exists(&self, place: &RollupPlace) -> bool {
        self.lock().names.contains_key(&folder(place).join("meta.json"))
    }

    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        Ok(Box::new(self.directory(place)))
    }

    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        self.lock().change()?;
        Ok(Box::new(self.directory(place)))
    }

    fn remove(&self, place: &RollupPlace) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let folder = folder(place);
        state.names.retain(|path, _| !path.starts_with(&folder));
        state.durable_names.retain(|path, _| !path.starts_with(&folder));
        Ok(())
    }

    fn describe(&self, place: &RollupPlace) -> String {
        folder(place).display().to_string()
    }
}

/// A call of a storage that something may come before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageCall {
    Open,
    Create,
    Remove,
}

/// A disk before whose calls something is done, which may refuse them.
pub struct Before<F> {
    pub disk: Disk,
    pub before: F,
}

impl<F> fmt::Debug for Before<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl<F: Fn(StorageCall, &RollupPlace) -> io::Result<()> + Send + Sync> RollupStorage for Before<F> {
    fn holds(&self, rollup_index: &str) -> bool {
        self.disk.holds(rollup_index)
    }

    fn exists(&self, place: &RollupPlace) -> bool {
        self.disk.exists(place)
    }

    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        (self.before)(StorageCall::Open, place)?;
        self.disk.open(place)
    }

    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        (self.before)(StorageCall::Create, place)?;
        self.disk.create(place)
    }

    fn remove(&self, place: &RollupPlace) -> io::Result<()> {
        (self.before)(StorageCall::Remove, place)?;
        self.disk.remove(place)
    }

    fn describe(&self, place: &RollupPlace) -> String {
        self.disk.describe(place)
    }
}

#[derive(Clone, Debug)]
struct DiskDirectory {
    disk: Disk,
    folder: PathBuf,
}

impl DiskDirectory {
    fn content(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut state = self.disk.lock();
        state.read().map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()))?;
        let inode = state.names.get(&self.folder.join(path)).copied();
        let inode = inode.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(state.inodes[inode].now.clone())
    }
}

impl Directory for DiskDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(OwnedBytes::new(self.content(path)?)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut state = self.disk.lock();
        let failed = |error: io::Error| DeleteError::IoError { io_error: Arc::new(error), filepath: path.to_owned() };
        state.change().map_err(failed)?;
        let removed = state.names.remove(&self.folder.join(path));
        removed.map(drop).ok_or_else(|| DeleteError::FileDoesNotExist(path.to_owned()))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.disk.lock().names.contains_key(&self.folder.join(path)))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let mut state = self.disk.lock();
        state.change().map_err(|error| OpenWriteError::wrap_io_error(error, path.to_owned()))?;
        let whole = self.folder.join(path);
        if state.names.contains_key(&whole) {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        let inode = state.create(&whole, Inode::default());
        Ok(BufWriter::new(Box::new(DiskFile { disk: self.disk.clone(), inode })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.content(path)
    }

    /// As tantivy's own: a synced temporary file, renamed; the name is not synced.
    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        state.create(&self.folder.join(path), Inode::with(data.to_vec()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        let state = &mut *state;
        state.durable_names.retain(|path, _| !path.starts_with(&self.folder));
        let synced = state.names.iter().filter(|(path, _)| path.starts_with(&self.folder));
        state.durable_names.extend(synced.map(|(path, inode)| (path.clone(), *inode)));
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let path = self.folder.join(&lock.filepath);
        if !self.disk.lock().locks.insert(path.clone()) {
            return Err(LockError::LockBusy);
        }
        Ok(DirectoryLock::from(Box::new(Held { disk: self.disk.clone(), path })))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// A lock dies with its process, and with the power.
struct Held {
    disk: Disk,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

struct DiskFile {
    disk: Disk,
    inode: usize,
}

impl Write for DiskFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.change()?;
        let taken = if state.short_writes { data.len().div_ceil(2) } else { data.len() };
        let inode = &mut state.inodes[self.inode];
        inode.change(Change::Write(inode.now.len(), data[..taken].to_vec()));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for DiskFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        state.inodes[self.inode].sync();
        Ok(())
    }
}

/// The file below a `RedbStore`.
#[derive(Debug)]
pub struct StoreFile {
    disk: Disk,
    inode: usize,
}

impl redb::StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.read()?;
        let at = usize::try_from(offset).unwrap();
        let data = state.inodes[self.inode].now.get(at..at + out.len());
        out.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        state.inodes[self.inode].change(Change::Length(usize::try_from(length).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        state.inodes[self.inode].change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}
