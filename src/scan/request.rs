use std::any::Any;
use std::fmt;

use super::Times;
use crate::filter::{Filter, FilterField, Selection};
use crate::job::{GroupKey, KeyPart, TermsType};
use crate::rollup::{Grouping, KeyKind};
use crate::sync::Arc;

/// Groups of a page, if nobody says how many.
const PAGE_SIZE: usize = 10_000;

/// What a scan is to deliver: groups of the rows that a filter means, of some stretches of time, in pages.
///
/// ```
/// use rollup_jobs::filter::Filter;
/// use rollup_jobs::rollup::{Grouping, Measure};
/// use rollup_jobs::scan::{ScanRequest, Times};
///
/// let grouping = Grouping::new("timestamp").measure("temperature", Measure::Max);
/// let request = ScanRequest::new(grouping)
///     .filter(Filter::term("node", "a"), 0)
///     .times(Times::between(0..3_600_000))
///     .page_size(10);
/// assert!(request.check().is_ok());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScanRequest {
    /// What is grouped by, and what is found out of each group.
    pub grouping: Arc<Grouping>,
    /// Which rows count. Default: all.
    pub filter: Filter,
    /// What `now` means in the filter, in milliseconds since 1970. Default: 0.
    pub now: i64,
    /// Which stretches of time count. Default: all.
    pub times: Times,
    /// Only groups whose keys come strictly after this one. Default: all.
    pub after: Option<GroupKey>,
    /// The most groups of a page. Default: 10,000.
    pub page_size: usize,
    /// The moment whose rows are meant, if the engine keeps it. Default: this one.
    pub snapshot: Option<Snapshot>,
}

/// What an engine holds at one moment, kept for several scans that have to agree. Whoever has it knows nothing of it;
/// the engine that made it finds its own in it.
///
/// ```
/// use rollup_jobs::scan::Snapshot;
///
/// let snapshot = Snapshot::new(vec!["a document"]);
/// assert_eq!(snapshot.get::<Vec<&str>>().unwrap().len(), 1);
/// assert!(snapshot.get::<String>().is_none());
/// ```
#[derive(Clone)]
pub struct Snapshot(Arc<dyn Any + Send + Sync>);

impl Snapshot {
    /// What an engine keeps.
    pub fn new<T: Any + Send + Sync>(kept: T) -> Self {
        Self(Arc::new(kept))
    }

    /// What was kept, if it is of this type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// A scan was asked for that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{member}] {problem}")]
pub struct ScanRequestError {
    member: &'static str,
    problem: String,
}

impl ScanRequestError {
    pub(super) fn new(member: &'static str, problem: impl Into<String>) -> Self {
        Self { member, problem: problem.into() }
    }
}

impl ScanRequest {
    /// All groups of all rows.
    #[must_use]
    pub fn new(grouping: impl Into<Arc<Grouping>>) -> Self {
        Self {
            grouping: grouping.into(),
            filter: Filter::MatchAll,
            now: 0,
            times: Times::all(),
            after: None,
            page_size: PAGE_SIZE,
            snapshot: None,
        }
    }

    /// Only rows that this means; `now` is what that is in it, in milliseconds since 1970.
    #[must_use]
    pub fn filter(mut self, filter: Filter, now: i64) -> Self {
        (self.filter, self.now) = (filter, now);
        self
    }

    /// Only rows, with that date of several that they may have, in these stretches of time.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Only groups strictly after this key, if there is one. It may be the key of no group.
    #[must_use]
    pub fn after(mut self, key: impl Into<Option<GroupKey>>) -> Self {
        self.after = key.into();
        self
    }

    /// At most so many groups per page.
    #[must_use]
    pub fn page_size(mut self, page_size: usize) -> Self {
        self.page_size = page_size;
        self
    }

    /// The rows of this moment, which the engine that is asked has kept.
    #[must_use]
    pub fn snapshot(mut self, snapshot: impl Into<Option<Snapshot>>) -> Self {
        self.snapshot = snapshot.into();
        self
    }

    /// Whether the grouping is one, and the other members fit it. An engine asks before it begins.
    ///
    /// # Errors
    /// [`ScanRequestError`], which names the member.
    pub fn check(&self) -> Result<(), ScanRequestError> {
        let wrong = |member, problem: String| Err(ScanRequestError::new(member, problem));
        let fields = self.grouping.keys().iter().map(|key| &key.field);
        let fields = fields.chain(self.grouping.measured().iter().map(|measured| &measured.field));
        if self.grouping.date_field().is_empty() || fields.into_iter().any(String::is_empty) {
            return wrong("grouping", "names a field without a name".to_owned());
        }
        for key in self.grouping.keys() {
            if let KeyKind::Histogram { interval } = key.kind
                && !(interval.is_finite() && interval > 0.0)
            {
                let problem =
                    format!("has ranges of [{}] that are [{interval}] wide: it has to be above zero", key.field);
                return wrong("grouping", problem);
            }
        }
        if self.page_size == 0 {
            return wrong("page_size", "must be one at least".to_owned());
        }
        match &self.after {
            Some(after) if !self.is_key(after) => wrong("after", format!("{after:?} is no key of the grouping")),
            _ => Ok(()),
        }
    }

    /// The filter, read for what fields hold.
    ///
    /// # Errors
    /// [`ScanRequestError`] for a value that its field cannot have.
    pub fn select(&self, holds: &dyn Fn(&str) -> Option<FilterField>) -> Result<Selection, ScanRequestError> {
        self.filter.select(self.now, holds).map_err(|error| ScanRequestError::new("filter", error.to_string()))
    }

    fn is_key(&self, key: &GroupKey) -> bool {
        let (grid, keys) = (self.grouping.grid(), self.grouping.keys());
        let (date, rest) = key.split_at(usize::from(grid.is_some()).min(key.len()));
        let dates = date.iter().all(|part| matches!(part, KeyPart::Date(_)));
        let parts = rest.iter().zip(keys).all(|(part, key)| key.kind.has(part));
        key.len() == self.grouping.key_parts() && dates && parts
    }
}

impl KeyKind {
    /// Whether keys can have this part.
    fn has(self, part: &KeyPart) -> bool {
        match part {
            KeyPart::Null => true,
            KeyPart::Date(_) => false,
            KeyPart::Histogram { .. } => matches!(self, Self::Histogram { .. }),
            KeyPart::Integer(_) => matches!(self, Self::Terms(TermsType::Integer | TermsType::Unsigned)),
            KeyPart::Unsigned(_) => matches!(self, Self::Terms(TermsType::Unsigned)),
            KeyPart::Double(_) => matches!(self, Self::Terms(TermsType::Floating)),
            KeyPart::Text(_) => matches!(self, Self::Terms(TermsType::Keyword)),
        }
    }
}
