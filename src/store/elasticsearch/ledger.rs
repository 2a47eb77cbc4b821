//! Ledgers: a document each, which belongs to nobody's lease.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use serde_json::{Value, json};

use super::call::Call;
use super::index::{Change, Index, Stored};
use crate::cluster::Failure;
use crate::job::Ledger;
use crate::store::StoreError;

const PREFIX: &str = "ledger:";

/// For each of these source indices.
pub(super) fn read(
    index: &Index,
    source_indices: &[&str],
    call: &mut Call,
) -> Result<Vec<Result<Ledger, StoreError>>, Failure> {
    let ids: Vec<String> = source_indices.iter().map(|index| document_id(index)).collect();
    let found = call.until_decided(|call| index.read(&ids, call.left()).map(Some))?;
    let ledger = |stored: Option<Stored>| stored.map_or(Ok(Ledger::default()), |stored| parsed(&stored.source));
    Ok(found.into_iter().map(ledger).collect())
}

/// Says whether `ledger` has come after the stored one.
pub(super) fn replace(index: &Index, source_index: &str, ledger: &Ledger, call: &mut Call) -> Result<bool, Failure> {
    // An answer may be lost: by this it is known whose change was made.
    let nonce = RandomState::new().hash_one(source_index).to_string();
    let source = json!({
        "ledger": source_index,
        "revision": ledger.revision,
        "nonce": nonce,
        "record": ledger.to_json().to_string()
    });
    let id = document_id(source_index);
    call.until_decided(|call| {
        let found = index.read(std::slice::from_ref(&id), call.left())?.into_iter().flatten().next();
        let change = match found {
            None if ledger.revision == 1 => Change::Create(source.clone()),
            // Written again, since a read is no proof that it stays.
            Some(stored) if stored.source["nonce"] == *nonce => Change::Replace(stored.stamp, source.clone()),
            Some(stored) if stored.source["revision"].as_u64() == Some(ledger.revision - 1) => {
                Change::Replace(stored.stamp, source.clone())
            }
            None | Some(_) => return Ok(Some(false)),
        };
        Ok(index.change_one(&id, change, call.half())?.map(|_| true))
    })
}

/// The record is a text, as those of jobs are.
fn parsed(source: &Value) -> Result<Ledger, StoreError> {
    let text = source["record"].as_str().unwrap_or_default();
    Ledger::from_json(text.as_bytes()).map_err(StoreError::damaged)
}

fn document_id(source_index: &str) -> String {
    format!("{PREFIX}{source_index}")
}
