mod kept;

use std::path::{Path, PathBuf};
use std::{fs, io};

use ::redb::backends::FileBackend;
use ::redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, TableError, WriteTransaction,
};

use super::{Acquired, JobStore, Lease, LoadedRecord, Ownership, StoreError, owned, supersedes};
use crate::durable::sync_folder;
use crate::job::{JobRecord, Ledger};
use crate::sync::{AtomicBool, Ordering, RwLock};
use kept::Kept;

/// Job id to record, as JSON.
const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rollup_jobs");
/// Ledgers by source index. Absent before the first.
const LEDGERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rollup_ledgers");
/// What engines remember of source indices.
const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rollup_marks");
/// Facts about the file.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("rollup_meta");
const FORMAT_KEY: &str = "format";
/// Grows with every owner. Absent before the first.
const EPOCH_KEY: &str = "epoch";
/// The latest epoch of any record that was inserted. Absent before the first.
const NEWEST_KEY: &str = "newest_epoch";
/// The version of the tables above. A file with a higher one was written by a newer crate and is left alone.
const FORMAT: u64 = 1;

/// Keeps records in one file, by [redb](::redb): ACID, in pure Rust. Every call that returned is on disk.
///
/// The file belongs to one process at a time. A record that cannot be read (damaged, or written by a newer version)
/// does not hide the others.
///
/// After an I/O error, such as a full disk, the next call opens the file again: redb itself would refuse everything
/// until then. The file stays locked meanwhile.
///
/// ```
/// use rollup_jobs::store::RedbStore;
///
/// let folder = tempfile::tempdir()?;
/// let store = RedbStore::open(folder.path().join("jobs.redb"))?;
/// let error = RedbStore::open(folder.path().join("jobs.redb")).unwrap_err();
/// assert!(error.to_string().ends_with("is open already: only one process can have it"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RedbStore {
    /// None while it could not be opened again.
    database: RwLock<Option<Database>>,
    backend: Kept,
    /// A call has met an I/O error: redb refuses all that come after it.
    has_failed: AtomicBool,
}

/// A store file could not be opened. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenRedbError {
    /// Somebody has it open: another process, or another part of this one.
    #[error("the job store {} is open already: only one process can have it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("the job store {} has format {found}, this version reads up to {FORMAT}: upgrade rollup-jobs", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It is not a job store, or no longer a whole one.
    #[error("the job store {} is damaged, or is no job store: restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: ::redb::Error,
    },
    /// The file system refused.
    #[error("could not open the job store {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: ::redb::Error,
    },
}

impl RedbStore {
    /// Opens the file, or creates it: whole or, after a crash in the middle, not at all.
    ///
    /// # Errors
    /// [`OpenRedbError`]; the file is as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenRedbError> {
        let path = path.as_ref();
        if !path.exists() {
            Self::create(path)?;
        }
        Self::check(backend(path)?, path)
    }

    /// Creates the file under another name first: redb takes what a crash left of a creation for a damaged file.
    fn create(path: &Path) -> Result<(), OpenRedbError> {
        let io = |error: io::Error| OpenRedbError::Io { path: path.to_owned(), source: StorageError::Io(error).into() };
        let mut new = path.as_os_str().to_owned();
        // A name of this process: another one may be creating the store at this moment.
        new.push(format!(".new-{}", std::process::id()));
        let new = Path::new(&new);
        // What a crash has left of a creation. Where it cannot be removed nothing can be created either.
        let _ = fs::remove_file(new);
        drop(Self::check(backend(new)?, path)?);
        // A link, unlike a new name, never takes the place of a file that somebody else has created meanwhile.
        match fs::hard_link(new, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Not every file system has links.
            Err(_) => fs::rename(new, path).map_err(io)?,
        }
        // It may stay.
        let _ = fs::remove_file(new);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new("."))).map_err(io)
    }

    /// Opens the store on a backend of the caller's own, for tests that play a failing disk. An empty one becomes a
    /// store; a crash in the middle of that leaves a damaged one.
    ///
    /// # Errors
    /// [`OpenRedbError`], with an empty path.
    pub fn open_on(backend: impl StorageBackend) -> Result<Self, OpenRedbError> {
        Self::check(Kept::new(backend), Path::new(""))
    }

    fn check(backend: Kept, path: &Path) -> Result<Self, OpenRedbError> {
        let database = database(&backend).map_err(|error| open_error(path, error))?;
        let format = format(&database);
        let store = Self { database: RwLock::new(Some(database)), backend, has_failed: AtomicBool::new(false) };
        match format {
            Ok(found) if found > FORMAT => Err(OpenRedbError::NewerFormat { path: path.to_owned(), found }),
            Ok(_) => Ok(store),
            Err(error) => Err(broken(path, error)),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, ::redb::Error>) -> Result<T, StoreError> {
        self.call(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let answer = change(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        })
    }

    /// What a table that there need not be has under these keys.
    fn read_bytes(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.call(|database| match database.begin_read()?.open_table(table) {
            Ok(table) => {
                let read = |key: &&str| Ok(table.get(*key)?.map(|bytes| bytes.value().to_vec()));
                keys.iter().map(read).collect()
            }
            Err(TableError::TableDoesNotExist(_)) => Ok(keys.iter().map(|_| None).collect()),
            Err(error) => Err(error.into()),
        })
    }

    /// Calls redb, on a database that is opened again if the last call has failed.
    fn call<T>(&self, call: impl FnOnce(&Database) -> Result<T, ::redb::Error>) -> Result<T, StoreError> {
        if self.has_failed.load(Ordering::Acquire) {
            self.open_again().map_err(|error| failed(error.into()))?;
        }
        let database = self.database.read();
        let answer = match &*database {
            Some(database) => call(database),
            // Somebody else's call has failed to open it.
            None => Err(::redb::Error::PreviousIo),
        };
        answer.map_err(|error| {
            if is_latched(&error) {
                self.has_failed.store(true, Ordering::Release);
            }
            failed(error)
        })
    }

    fn open_again(&self) -> Result<(), DatabaseError> {
        let mut place = self.database.write();
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // What it still wants to write fails as before, and is not needed: everything that counts was committed.
        drop(place.take());
        *place = Some(database(&self.backend)?);
        self.has_failed.store(false, Ordering::Release);
        Ok(())
    }
}

/// The file, and the right to it.
fn backend(path: &Path) -> Result<Kept, OpenRedbError> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let backend = file.map_err(DatabaseError::from).and_then(FileBackend::new);
    backend.map(Kept::new).map_err(|error| open_error(path, error))
}

fn database(backend: &Kept) -> Result<Database, DatabaseError> {
    Builder::new().create_with_backend(backend.clone())
}

/// The file's format, noted in a new file.
fn format(database: &Database) -> Result<u64, ::redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut meta = transaction.open_table(META)?;
        transaction.open_table(JOBS)?;
        let found = meta.get(FORMAT_KEY)?.map(|format| format.value());
        if found.is_none() {
            meta.insert(FORMAT_KEY, FORMAT)?;
        }
        found
    };
    match found {
        Some(found) => transaction.abort().map(|()| found)?,
        None => transaction.commit().map(|()| FORMAT)?,
    };
    Ok(found.unwrap_or(FORMAT))
}

/// Whether redb refuses everything after it.
fn is_latched(error: &::redb::Error) -> bool {
    use ::redb::Error;
    matches!(error, Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_))
}

fn open_error(path: &Path, error: DatabaseError) -> OpenRedbError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenRedbError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(io))
            if io.kind() != std::io::ErrorKind::InvalidData && io.raw_os_error().is_some() =>
        {
            OpenRedbError::Io { path: path.to_owned(), source: StorageError::Io(io).into() }
        }
        other => broken(path, other.into()),
    }
}

fn broken(path: &Path, source: ::redb::Error) -> OpenRedbError {
    OpenRedbError::Damaged { path: path.to_owned(), source }
}

fn failed(error: ::redb::Error) -> StoreError {
    match error {
        ::redb::Error::Corrupted(_) => StoreError::damaged(error),
        // A full disk may have room again.
        other => StoreError::unavailable(other),
    }
}

impl JobStore for RedbStore {
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError> {
        self.call(|database| {
            let transaction = database.begin_read()?;
            let jobs = transaction.open_table(JOBS)?;
            let records = jobs.iter()?.map(|entry| {
                let (id, json) = entry?;
                Ok(LoadedRecord::read(id.value(), json.value()))
            });
            records.collect()
        })
    }

    fn get(&self, id: &str) -> Result<Option<LoadedRecord>, StoreError> {
        self.call(|database| {
            let found = database.begin_read()?.open_table(JOBS)?.get(id)?;
            Ok(found.map(|json| LoadedRecord::read(id, json.value())))
        })
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        let inserted = self.write(|transaction| {
            if let Err(lost) = owned(record, epoch(transaction)?) {
                return Ok(Err(lost));
            }
            let mut jobs = transaction.open_table(JOBS)?;
            let free = jobs.get(record.id())?.is_none();
            if free {
                jobs.insert(record.id(), json(record).as_slice())?;
                // It may come from another store, whose owners count on their own.
                let newest = number(transaction, NEWEST_KEY)?.max(record.epoch());
                transaction.open_table(META)?.insert(NEWEST_KEY, newest)?;
            }
            Ok(Ok(free))
        });
        if inserted?? { Ok(()) } else { Err(StoreError::already_exists(format!("job [{}] is stored", record.id()))) }
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let updated = self.write(|transaction| {
            let epoch = epoch(transaction)?;
            let mut jobs = transaction.open_table(JOBS)?;
            let mut update = |record: &JobRecord| -> Result<Result<(), StoreError>, ::redb::Error> {
                if let Err(lost) = owned(record, epoch) {
                    return Ok(Err(lost));
                }
                let stored = jobs.get(record.id())?.map(|json| JobRecord::from_json(json.value()));
                let replace = match stored {
                    None => Err(StoreError::gone(format!("job [{}] is not stored", record.id()))),
                    Some(Ok(stored)) => supersedes(record, &stored),
                    // What cannot be read was not written by this manager, and is not its to overwrite.
                    Some(Err(error)) => Err(StoreError::damaged(error)),
                };
                match replace {
                    Ok(true) => jobs.insert(record.id(), json(record).as_slice()).map(|_| Ok(())).map_err(Into::into),
                    Ok(false) => Ok(Ok(())),
                    Err(error) => Ok(Err(error)),
                }
            };
            records.iter().map(&mut update).collect::<Result<Vec<_>, _>>()
        });
        updated.unwrap_or_else(|error| records.iter().map(|_| Err(error.clone())).collect())
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.write(|transaction| Ok(transaction.open_table(JOBS)?.remove(id)?.is_some())).map(drop)
    }

    fn ledger(&self, index: &str) -> Result<Ledger, StoreError> {
        Ok(self.ledgers(&[index])?.pop().unwrap_or_default())
    }

    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        let read = |json: Option<Vec<u8>>| {
            json.map_or(Ok(Ledger::default()), |json| Ledger::from_json(&json).map_err(StoreError::damaged))
        };
        self.read_bytes(LEDGERS, indices)?.into_iter().map(read).collect()
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let mut ledgers = transaction.open_table(LEDGERS)?;
            let stored = ledgers.get(index)?.map(|json| Ledger::from_json(json.value()).map_err(StoreError::damaged));
            let stored = match stored.transpose() {
                Ok(stored) => stored.map_or(0, |stored| stored.revision),
                Err(damaged) => return Ok(Err(damaged)),
            };
            let is_next = stored + 1 == ledger.revision;
            if is_next {
                ledgers.insert(index, ledger.to_json().to_string().as_bytes())?;
            }
            Ok(Ok(is_next))
        })?
    }

    fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_bytes(MARKS, &[name])?.pop().flatten())
    }

    fn put_marks(&self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut kept = transaction.open_table(MARKS)?;
            for (name, mark) in marks {
                kept.insert(name.as_str(), mark.as_slice())?;
            }
            Ok(())
        })
    }

    /// The file has one process, so nobody else can hold it.
    fn acquire(&self, _lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        let acquired = self.write(|transaction| {
            let next = Ownership::after(epoch(transaction)?.max(number(transaction, NEWEST_KEY)?));
            transaction.open_table(META)?.insert(EPOCH_KEY, next.epoch)?;
            Ok(next)
        });
        acquired.map(Acquired::Owned)
    }
}

fn epoch(transaction: &WriteTransaction) -> Result<u64, ::redb::Error> {
    number(transaction, EPOCH_KEY)
}

fn number(transaction: &WriteTransaction, key: &str) -> Result<u64, ::redb::Error> {
    Ok(transaction.open_table(META)?.get(key)?.map_or(0, |number| number.value()))
}

fn json(record: &JobRecord) -> Vec<u8> {
    record.to_json().to_string().into_bytes()
}
