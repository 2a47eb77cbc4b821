//! `ElasticsearchStore`: jobs in a hidden index of the cluster. Feature `elasticsearch`.
//!
//! It is tested against OpenSearch 3.8 and Elasticsearch 9.1, and has passed the suite on Elasticsearch 7.17 and
//! 8.19. OpenSearch 2 is spoken to as well, untested.

mod call;
mod index;
mod lease;
mod ledger;
mod mark;
mod options;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Acquired, JobStore, Lease, LoadedRecord, Ownership, StoreError};
use crate::cluster::{Cause, Cluster, Failure};
use crate::job::{JobRecord, Ledger};
use crate::sync::Mutex;
use call::Call;
use index::{Change, Index, Outcome, Stamp, Stored};
use lease::{HeldLease, Tried};
pub use options::ElasticsearchStoreOptions;

/// With a job's longest id it is within what the servers allow a document's id to have.
const PREFIX: &str = "job:";
/// A former owner who saves all the time cannot be in the way for ever.
const CLAIMS: usize = 1_000;

/// Keeps records in an Elasticsearch or OpenSearch cluster, where several hosts can reach them, and one at a time
/// owns them.
///
/// The owner holds a lease, which its manager renews. A second manager on the same store waits, or fails and names
/// the owner ([`wait_for_ownership`](crate::RollupJobManagerBuilder::wait_for_ownership)); it takes over at once from
/// one that was shut down, and after a whole lease from one that is gone. What a former owner still saves is refused,
/// each record by its version in the cluster, which its successor has changed.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use rollup_jobs::RollupJobManager;
/// use rollup_jobs::cluster::{Cluster, ClusterOptions};
/// use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
/// use rollup_jobs::store::ElasticsearchStore;
///
/// let cluster = Cluster::new(ClusterOptions::new(["http://localhost:9200"]))?;
/// let engine = Arc::new(ElasticsearchEngine::new(cluster.clone()));
/// let store = Arc::new(ElasticsearchStore::new(cluster));
/// let manager = RollupJobManager::builder(engine, store).wait_for_ownership(Duration::from_mins(1)).open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ElasticsearchStore {
    index: Index,
    options: ElasticsearchStoreOptions,
    /// Whether the index is known to be there.
    is_ready: Mutex<bool>,
    held: Mutex<Option<HeldLease>>,
    /// What was last seen of each record.
    known: Mutex<HashMap<String, Known>>,
}

/// A record's version.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamp: Stamp,
    epoch: u64,
    revision: u64,
}

impl ElasticsearchStore {
    /// With the default options. Nothing is sent before the store is used.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self::with_options(cluster, ElasticsearchStoreOptions::default())
    }

    /// With these options.
    #[must_use]
    pub fn with_options(cluster: Cluster, options: ElasticsearchStoreOptions) -> Self {
        let index = Index::new(cluster, &options.index);
        Self { index, options, is_ready: Mutex::default(), held: Mutex::default(), known: Mutex::default() }
    }

    fn call(&self) -> Call {
        Call::within(self.options.timeout)
    }

    fn failed(&self, failure: &Failure) -> StoreError {
        let text = format!("index [{}]: {failure}", self.index.name);
        match failure.cause() {
            Cause::Refused | Cause::Forbidden | Cause::NotFound | Cause::Exists => StoreError::rejected(text),
            _ => StoreError::unavailable(text),
        }
    }

    fn ready(&self, call: &Call) -> Result<(), Failure> {
        if !*self.is_ready.lock() {
            self.index.ensure(call)?;
            *self.is_ready.lock() = true;
        }
        Ok(())
    }

    /// Notes the version of a record, unless a later one is known.
    fn note(&self, id: &str, known: Known) {
        let mut all = self.known.lock();
        if all.get(id).is_none_or(|before| before.stamp < known.stamp) {
            all.insert(id.to_owned(), known);
        }
    }

    fn forget(&self, id: &str) {
        self.known.lock().remove(id);
    }

    /// The last version of each record that is known, or else there.
    fn look(&self, ids: &[&str], call: &Call) -> Result<HashMap<String, Known>, Failure> {
        let mut found: HashMap<_, _> = {
            let all = self.known.lock();
            ids.iter().filter_map(|id| Some(((*id).to_owned(), *all.get(*id)?))).collect()
        };
        let unknown: Vec<_> = ids.iter().filter(|id| !found.contains_key(**id)).map(|id| document_id(id)).collect();
        for stored in self.index.read(&unknown, call.left())?.into_iter().flatten() {
            let (id, known) = (job_id(&stored), known(&stored));
            self.note(&id, known);
            found.insert(id, known);
        }
        Ok(found)
    }

    /// Saves those records that have not been answered yet, as far as that goes in one request.
    fn save_some(
        &self,
        records: &[JobRecord],
        answers: &mut [Option<Result<(), StoreError>>],
        call: &Call,
    ) -> Result<(), Failure> {
        self.ready(call)?;
        let open: Vec<_> = (0..records.len()).filter(|at| answers[*at].is_none()).collect();
        let ids: Vec<_> = open.iter().map(|at| records[*at].id()).collect();
        let found = self.look(&ids, call)?;
        // One look for all: who has lost the store has lost it for every record.
        let mut lost = None;
        let mut lost = || lost.get_or_insert_with(|| lease::lost_to_whom(&self.index, call)).clone();
        let mut to_save = Vec::new();
        for at in open {
            let record = &records[at];
            answers[at] = match found.get(record.id()) {
                None => {
                    let gone = || StoreError::gone(format!("job [{}] is not stored", record.id()));
                    Some(Err(lease::later_owner(&self.index, record.epoch(), call)?.unwrap_or_else(gone)))
                }
                Some(known) if record.epoch() < known.epoch => Some(Err(lost())),
                // If it is this very one, which was looked up, then it is written again: a read is no proof that it
                // stays.
                Some(known) if record.epoch() == known.epoch && record.revision() < known.revision => Some(Ok(())),
                Some(known) => {
                    to_save.push((at, known.stamp));
                    None
                }
            };
        }
        let change = |(at, stamp): &(usize, Stamp)| {
            (document_id(records[*at].id()), Change::Replace(*stamp, source(&records[*at])))
        };
        let outcomes = self.index.change(to_save.iter().map(change).collect(), call.half());
        let mut failed = None;
        for ((at, _), outcome) in to_save.into_iter().zip(outcomes) {
            let record = &records[at];
            match outcome {
                Outcome::Done(stamp) => {
                    self.note(record.id(), Known { stamp, epoch: record.epoch(), revision: record.revision() });
                    answers[at] = Some(Ok(()));
                }
                Outcome::Conflict => self.forget(record.id()),
                Outcome::Failed(failure) => {
                    self.forget(record.id());
                    if Call::passes(&failure) {
                        failed = Some(failure);
                    } else {
                        answers[at] = Some(Err(self.failed(&failure)));
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Creates the record's document: `None` if there is one that is not this one.
    fn create(&self, record: &JobRecord, call: &mut Call) -> Result<Option<Stamp>, Failure> {
        let (id, source) = (document_id(record.id()), source(record));
        call.until_decided(|call| {
            self.ready(call)?;
            if let Some(found) = self.index.read(std::slice::from_ref(&id), call.left())?.into_iter().flatten().next() {
                if found.source != source {
                    return Ok(Some(None));
                }
                // It was created, and the answer lost. Written again, since a read is no proof that it stays.
                let again = self.index.change_one(&id, Change::Replace(found.stamp, source.clone()), call.half())?;
                return Ok(again.map(Some));
            }
            let created = self.index.change_one(&id, Change::Create(source.clone()), call.half())?;
            Ok(created.map(Some))
        })
    }

    fn insert_at(&self, record: &JobRecord, call: &mut Call) -> Result<Result<(), StoreError>, Failure> {
        let created = self.create(record, call)?;
        // A successor has taken over what there was; of this record it knows only if it came before.
        let later = call.until_decided(|call| lease::later_owner(&self.index, record.epoch(), call).map(Some))?;
        let owned = later.map_or(Ok(()), Err);
        let Some(stamp) = created else {
            let exists = || StoreError::already_exists(format!("job [{}] is stored", record.id()));
            return Ok(owned.and_then(|()| Err(exists())));
        };
        if owned.is_err() {
            // Should it stay, the successor finds a put that was interrupted, and finishes it.
            let _ = self.index.change_one(&document_id(record.id()), Change::Delete(stamp), call.left());
        } else {
            self.note(record.id(), Known { stamp, epoch: record.epoch(), revision: record.revision() });
        }
        Ok(owned)
    }

    fn remove_at(&self, id: &str, call: &mut Call) -> Result<Result<(), StoreError>, Failure> {
        let epoch = self.held.lock().as_ref().map(|held| held.ownership().epoch);
        call.until_decided(|call| {
            self.ready(call)?;
            let Some(known) = self.look(&[id], call)?.remove(id) else {
                let later = epoch.map(|epoch| lease::later_owner(&self.index, epoch, call)).transpose()?.flatten();
                return Ok(Some(later.map_or(Ok(()), Err)));
            };
            if epoch.is_some_and(|epoch| epoch < known.epoch) {
                return Ok(Some(Err(lease::lost_to_whom(&self.index, call))));
            }
            self.forget(id);
            let removed = self.index.change_one(&document_id(id), Change::Delete(known.stamp), call.half())?;
            Ok(removed.map(|_| Ok(())))
        })
    }

    /// Gives every record the owner's epoch, and thereby another version than the one that a former owner knows. Of
    /// many records that takes a while, in which others should see that this owner lives.
    fn claim(&self, ownership: Ownership) -> Result<(), StoreError> {
        for _ in 0..CLAIMS {
            let claimed = self.call().until_decided(|call| self.claim_some(ownership.epoch, call).map(Some));
            if claimed.map_err(|failure| self.failed(&failure))? {
                return Ok(());
            }
            self.change_lease(ownership, false)?;
        }
        Err(StoreError::unavailable("a former owner of the store saves all the time"))
    }

    /// Says whether there was nothing left to claim.
    fn claim_some(&self, epoch: u64, call: &Call) -> Result<bool, Failure> {
        self.index.refresh(call.left())?;
        let earlier = json!({ "range": { "epoch": { "lt": epoch } } });
        let (found, _) = self.index.page(earlier, None, call.left())?;
        if found.is_empty() {
            return Ok(true);
        }
        let claimed = |mut stored: Stored| {
            stored.source["epoch"] = json!(epoch);
            (stored.id, Change::Replace(stored.stamp, stored.source))
        };
        let outcomes = self.index.change(found.into_iter().map(claimed).collect(), call.half());
        let failed = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Done(_) | Outcome::Conflict => None,
        });
        failed.map_or(Ok(false), Err)
    }

    fn load_all(&self) -> Result<Vec<LoadedRecord>, Failure> {
        self.call().until_decided(|call| {
            self.ready(call)?;
            self.index.refresh(call.left()).map(Some)
        })?;
        let (mut loaded, mut after) = (Vec::new(), None::<Value>);
        loop {
            let all = json!({ "match_all": {} });
            let page = |call: &Call| self.index.page(all.clone(), after.as_ref(), call.left()).map(Some);
            let (page, next) = self.call().until_decided(page)?;
            for stored in &page {
                self.note(&job_id(stored), known(stored));
                loaded.push(read(stored));
            }
            after = next;
            if after.is_none() {
                return Ok(loaded);
            }
        }
    }

    /// Renews the lease, or lets it go.
    fn change_lease(&self, ownership: Ownership, released: bool) -> Result<(), StoreError> {
        let held = self.held.lock().clone().filter(|held| held.ownership() == ownership);
        let lost = || lease::lost_to_whom(&self.index, &self.call());
        let held = held.ok_or_else(lost)?;
        let changed =
            lease::change(&self.index, &held, released, &mut self.call()).map_err(|failure| self.failed(&failure))?;
        let changed = changed.ok_or_else(lost)?;
        // Another manager may have taken it over meanwhile, by this very store.
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|held| held.ownership() == ownership) {
            *held = (!released).then_some(changed);
        }
        Ok(())
    }
}

impl JobStore for ElasticsearchStore {
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError> {
        self.known.lock().clear();
        self.load_all().map_err(|failure| self.failed(&failure))
    }

    fn get(&self, id: &str) -> Result<Option<LoadedRecord>, StoreError> {
        let ids = [document_id(id)];
        let found = self.call().until_decided(|call| {
            self.ready(call)?;
            self.index.read(&ids, call.left()).map(Some)
        });
        let found = found.map_err(|failure| self.failed(&failure))?;
        Ok(found.into_iter().flatten().next().map(|stored| read(&stored)))
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        self.insert_at(record, &mut self.call()).map_err(|failure| self.failed(&failure))?
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let mut answers = vec![None; records.len()];
        let saved = self.call().until_decided(|call| {
            self.save_some(records, &mut answers, call)?;
            Ok(answers.iter().all(Option::is_some).then_some(()))
        });
        let failed = saved.map_err(|failure| self.failed(&failure));
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| failed.clone())).collect()
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.remove_at(id, &mut self.call()).map_err(|failure| self.failed(&failure))?
    }

    fn lease_duration(&self) -> Option<Duration> {
        Some(self.options.lease)
    }

    fn acquire(&self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        let failed = |failure| self.failed(&failure);
        let mut call = self.call();
        // Asked again whether it is there: this may be a second manager on the same store.
        call.until_decided(|call| self.index.ensure(call).map(Some)).map_err(failed)?;
        *self.is_ready.lock() = true;
        let ElasticsearchStoreOptions { owner, lease, .. } = &self.options;
        let tried = lease::acquire(&self.index, owner, *lease, lapsed, &mut call).map_err(failed)?;
        let held = match tried {
            Tried::Taken(lease) => return Ok(Acquired::Held(lease)),
            Tried::Owned(held) => held,
        };
        let ownership = held.ownership();
        *self.held.lock() = Some(held);
        self.known.lock().clear();
        if let Err(error) = self.claim(ownership) {
            // Should that fail too, the next try has to wait until it has run out.
            let _ = self.release(&ownership);
            return Err(error);
        }
        Ok(Acquired::Owned(ownership))
    }

    fn ledger(&self, index: &str) -> Result<Ledger, StoreError> {
        let mut call = self.call();
        let read = self.ready(&call).and_then(|()| ledger::read(&self.index, &[index], &mut call));
        read.map_err(|failure| self.failed(&failure))?.pop().unwrap_or_else(|| Ok(Ledger::default()))
    }

    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        let mut call = self.call();
        let read = self.ready(&call).and_then(|()| ledger::read(&self.index, indices, &mut call));
        read.map_err(|failure| self.failed(&failure))?.into_iter().collect()
    }

    fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut call = self.call();
        let read = self.ready(&call).and_then(|()| mark::read(&self.index, name, &mut call));
        read.map_err(|failure| self.failed(&failure))
    }

    fn put_marks(&self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        let mut call = self.call();
        let put = self.ready(&call).and_then(|()| mark::put(&self.index, marks, &mut call));
        put.map_err(|failure| self.failed(&failure))
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        let mut call = self.call();
        let replaced = self.ready(&call).and_then(|()| ledger::replace(&self.index, index, ledger, &mut call));
        replaced.map_err(|failure| self.failed(&failure))
    }

    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.change_lease(*ownership, false)
    }

    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        match self.change_lease(*ownership, true) {
            Err(error) if error.kind() == super::StoreErrorKind::LostOwnership => Ok(()),
            other => other,
        }
    }
}

impl fmt::Debug for ElasticsearchStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchStore").field("options", &self.options).finish_non_exhaustive()
    }
}

fn document_id(job_id: &str) -> String {
    format!("{PREFIX}{job_id}")
}

fn job_id(stored: &Stored) -> String {
    stored.id.strip_prefix(PREFIX).unwrap_or(&stored.id).to_owned()
}

fn known(stored: &Stored) -> Known {
    let number = |name: &str| stored.source[name].as_u64().unwrap_or(0);
    Known { stamp: stored.stamp, epoch: number("epoch"), revision: number("revision") }
}

/// The record is a text in it, so that no server reads, and rounds, its numbers.
fn source(record: &JobRecord) -> Value {
    json!({
        "id": record.id(),
        "epoch": record.epoch(),
        "revision": record.revision(),
        "record": record.to_json().to_string()
    })
}

fn read(stored: &Stored) -> LoadedRecord {
    let text = stored.source["record"].as_str().unwrap_or_default();
    LoadedRecord::read(&job_id(stored), text.as_bytes())
}
