//! The one way to change a ledger: read, change, and put it back unless somebody else was faster.

use super::{JobStore, StoreError};
use crate::job::Ledger;

/// Changes the ledger of a source index in one step, whoever else changes it meanwhile: `change` may be called several
/// times. Says what the ledger is now, and what `change` said.
///
/// ```
/// use rollup_jobs::store::{JobStore, MemoryStore, change_ledger};
///
/// let store = MemoryStore::new();
/// let (ledger, number) = change_ledger(&store, "sensor-1", |ledger| ledger.note(0..3_600_000))?;
/// assert_eq!((ledger.revision, ledger.notes[0].number), (1, number));
/// assert_eq!(store.ledger("sensor-1")?, ledger);
/// # Ok::<(), rollup_jobs::store::StoreError>(())
/// ```
///
/// # Errors
/// Any [`StoreError`]. After one that is transient the change may have taken place.
pub fn change_ledger<T>(
    store: &dyn JobStore,
    index: &str,
    mut change: impl FnMut(&mut Ledger) -> T,
) -> Result<(Ledger, T), StoreError> {
    loop {
        let mut ledger = store.ledger(index)?;
        ledger.revision += 1;
        let said = change(&mut ledger);
        if store.replace_ledger(index, &ledger)? {
            return Ok((ledger, said));
        }
    }
}
