//! A storage backend that is kept while the database on it is opened again.

use std::ops::Bound;

use ::redb::{BackendError, StorageBackend};

use crate::guard::discard;
use crate::sync::{Arc, Mutex};

type Range = (Bound<u64>, Bound<u64>);
type BackendResult<T> = Result<T, BackendError>;

/// Hands the same backend to one database after another. What one has locked stays locked for the next, so that no
/// other process gets in between; the last clone closes it.
#[derive(Debug, Clone)]
pub(super) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Box<dyn StorageBackend>,
    locked: Mutex<Vec<Range>>,
}

impl Kept {
    pub(super) fn new(backend: impl StorageBackend) -> Self {
        Self(Arc::new(Inner { backend: Box::new(backend), locked: Mutex::default() }))
    }

    fn lock(&self, range: Range, lock: impl FnOnce(&dyn StorageBackend) -> BackendResult<bool>) -> BackendResult<bool> {
        let mut locked = self.0.locked.lock();
        if locked.contains(&range) {
            return Ok(true);
        }
        let is_locked = lock(&*self.0.backend)?;
        locked.extend(is_locked.then_some(range));
        Ok(is_locked)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        discard(self.backend.close());
    }
}

impl StorageBackend for Kept {
    fn len(&self) -> std::io::Result<u64> {
        self.0.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.backend.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.backend.write(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> BackendResult<bool> {
        self.lock((start, end), |backend| backend.try_lock_range(start, end))
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> BackendResult<bool> {
        self.lock((start, end), |backend| backend.try_lock_shared_range(start, end))
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> BackendResult<()> {
        self.lock((start, end), |backend| backend.lock_range(start, end).map(|()| true)).map(drop)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> BackendResult<()> {
        self.lock((start, end), |backend| backend.lock_shared_range(start, end).map(|()| true)).map(drop)
    }

    /// It is kept until the last clone goes.
    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> BackendResult<()> {
        Ok(())
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> BackendResult<bool> {
        self.0.backend.query_lock_range(start, end)
    }
}
