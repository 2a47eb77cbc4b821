//! The one way to change a ledger: read, change, and put it back unless somebody else was faster.

use std::convert::Infallible;

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
    let changed = change_ledger_unless(store, index, |ledger| Ok::<_, Infallible>(change(ledger)))?;
    changed.map_err(|never| match never {})
}

/// The same, unless `change` refuses: then nothing is written.
pub(crate) fn change_ledger_unless<T, E>(
    store: &dyn JobStore,
    index: &str,
    mut change: impl FnMut(&mut Ledger) -> Result<T, E>,
) -> Result<Result<(Ledger, T), E>, StoreError> {
    loop {
        let mut ledger = store.ledger(index)?;
        ledger.revision += 1;
        let said = match change(&mut ledger) {
            Ok(said) => said,
            Err(refused) => return Ok(Err(refused)),
        };
        if store.replace_ledger(index, &ledger)? {
            return Ok(Ok((ledger, said)));
        }
    }
}
