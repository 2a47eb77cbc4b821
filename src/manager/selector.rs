//! Which jobs an operation on many is for.

use super::{Entry, RollupJobManager};
use crate::job::wildcard_match;
use crate::sync::Arc;

/// Some of a manager's jobs, as Elasticsearch lets them be named: ids, `*` wildcards and `_all`, separated by commas.
///
/// ```
/// use rollup_jobs::JobSelector;
///
/// let some = JobSelector::from("sensor-*, gateway");
/// let all = JobSelector::all();
/// // Ids as they are, whatever characters they have.
/// let these = JobSelector::ids(["sensor-1", "a*b"]).allow_no_match(false);
/// # let _ = (some, all, these);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct JobSelector {
    items: Vec<Item>,
    allow_no_match: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Id(String),
    Wildcard(String),
}

/// What a selector selects.
pub(super) struct Selected {
    /// Sorted by id, each once. An id that was asked for and is not there is `None`.
    pub(super) entries: Vec<(Arc<str>, Option<Entry>)>,
    /// The parts of the selector that match nothing.
    pub(super) unmatched: Vec<String>,
}

impl JobSelector {
    /// All jobs.
    pub fn all() -> Self {
        Self { items: vec![Item::Wildcard("*".to_owned())], allow_no_match: true }
    }

    /// The jobs of exactly these ids.
    pub fn ids(ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { items: ids.into_iter().map(|id| Item::Id(id.into())).collect(), allow_no_match: true }
    }

    /// Whether a part that matches no job is fine. Default, as in Elasticsearch: `true`; a wildcard that matches
    /// nothing selects nothing, and an id that is not there is reported like any other job, as not found. If `false`,
    /// such a part makes the whole operation fail before it has done anything.
    pub fn allow_no_match(mut self, allow_no_match: bool) -> Self {
        self.allow_no_match = allow_no_match;
        self
    }

    pub(super) fn allows_no_match(&self) -> bool {
        self.allow_no_match
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl From<&str> for JobSelector {
    fn from(text: &str) -> Self {
        let item = |part: &str| match part {
            "_all" => Item::Wildcard("*".to_owned()),
            _ if part.contains('*') => Item::Wildcard(part.to_owned()),
            _ => Item::Id(part.to_owned()),
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Self { items: parts.map(item).collect(), allow_no_match: true }
    }
}

impl From<String> for JobSelector {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl RollupJobManager {
    pub(super) fn select(&self, selector: &JobSelector) -> Selected {
        let registry = self.registry.read();
        let known = || registry.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Reserved));
        let mut selected = Selected { entries: Vec::new(), unmatched: Vec::new() };
        for item in &selector.items {
            let before = selected.entries.len();
            match item {
                Item::Id(id) => {
                    let entry =
                        registry.entries.get(id.as_str()).filter(|entry| !matches!(entry, Entry::Reserved)).cloned();
                    if entry.is_none() {
                        selected.unmatched.push(id.clone());
                    }
                    selected.entries.push((id.as_str().into(), entry));
                }
                Item::Wildcard(pattern) => {
                    let matches = known().filter(|(id, _)| wildcard_match(pattern, id));
                    selected.entries.extend(matches.map(|(id, entry)| (id.clone(), Some(entry.clone()))));
                    if selected.entries.len() == before {
                        selected.unmatched.push(pattern.clone());
                    }
                }
            }
        }
        drop(registry);
        sort_by_id(&mut selected.entries);
        selected.entries.dedup_by(|(a, _), (b, _)| a == b);
        selected
    }
}

/// Ids are far apart in memory: the first bytes of each, side by side, mostly tell.
fn sort_by_id<T>(entries: &mut Vec<(Arc<str>, T)>) {
    let first_bytes = |id: &str| {
        let mut first = [0; 16];
        first.iter_mut().zip(id.bytes()).for_each(|(first, byte)| *first = byte);
        u128::from_be_bytes(first)
    };
    let mut keyed: Vec<_> = entries.drain(..).map(|entry| (first_bytes(&entry.0), entry)).collect();
    keyed.sort_unstable_by(|(a, (a_id, _)), (b, (b_id, _))| a.cmp(b).then_with(|| a_id.cmp(b_id)));
    entries.extend(keyed.into_iter().map(|(_, entry)| entry));
}
