//! What most jobs never have: errors, a notice, saves that the store has refused.

use std::ops::Range;
use std::time::Duration;

use crate::job::{JobError, JobStatus, LastVerification, LateDocuments, Notice};
use crate::store::StoreError;

/// In a box that the first trouble makes: a hundred thousand idle jobs have none.
#[derive(Default)]
pub(super) struct Troubles(Option<Box<Known>>);

/// What is known of them.
#[derive(Default)]
pub(super) struct Known {
    /// How often the store refused the save that would have completed a stop.
    pub(super) saves_refused: u64,
    /// How many of them in a row, since a save got through.
    pub(super) refused_in_a_row: u32,
    pub(super) failed_runs: u32,
    /// The last refusal, until a save gets through.
    pub(super) unsaved: Option<StoreError>,
    /// Former refusals, for whoever lets go of the lock: the errors in them are foreign.
    refuse: Vec<StoreError>,
    pub(super) errors: Vec<JobError>,
    pub(super) notice: Option<Notice>,
    /// What the last page was asked for with, if that is fewer buckets than configured.
    pub(super) reduced_page_size: Option<usize>,
    /// Late documents that no run has counted yet.
    pub(super) late: Option<Box<LateDocuments>>,
    /// Since when something rolled up has changed, and where the oldest of it begins.
    pub(super) changed: Option<(Duration, i64)>,
    pub(super) last_verification: Option<LastVerification>,
    /// Where it has found what another system has rolled up as it should be, and no run has saved that yet.
    verified: Vec<Range<i64>>,
    /// Where another system has rolled up more than there is, and what was said of source indices by then.
    counted: Option<(Vec<Range<i64>>, u64)>,
}

static NONE: Known = Known {
    saves_refused: 0,
    refused_in_a_row: 0,
    failed_runs: 0,
    unsaved: None,
    refuse: Vec::new(),
    errors: Vec::new(),
    notice: None,
    reduced_page_size: None,
    late: None,
    changed: None,
    last_verification: None,
    verified: Vec::new(),
    counted: None,
};

impl Troubles {
    pub(super) fn known(&self) -> &Known {
        self.0.as_deref().unwrap_or(&NONE)
    }

    fn known_mut(&mut self) -> &mut Known {
        self.0.get_or_insert_default()
    }

    pub(super) fn note_error(&mut self, error: JobError) {
        let errors = &mut self.known_mut().errors;
        if errors.len() == JobStatus::ERRORS_KEPT {
            errors.remove(0);
        }
        errors.push(error);
    }

    /// The former notice comes back.
    pub(super) fn note(&mut self, notice: Notice) -> Option<Notice> {
        self.known_mut().notice.replace(notice)
    }

    pub(super) fn note_page_size(&mut self, reduced: Option<usize>) {
        if reduced != self.known().reduced_page_size {
            self.known_mut().reduced_page_size = reduced;
        }
    }

    pub(super) fn note_late(&mut self, late: &LateDocuments) {
        self.known_mut().late.get_or_insert_default().merge(late);
    }

    pub(super) fn take_late(&mut self) -> Option<Box<LateDocuments>> {
        self.0.as_mut()?.late.take()
    }

    pub(super) fn note_changed(&mut self, oldest: Option<i64>, now: Duration) {
        let known = self.known().changed;
        let changed = oldest.map(|oldest| (known.map_or(now, |(since, _)| since), oldest));
        if changed != known {
            self.known_mut().changed = changed;
        }
    }

    pub(super) fn note_verified(&mut self, verification: LastVerification, inherited: &[Range<i64>]) {
        let known = self.known_mut();
        known.last_verification = Some(verification);
        known.verified.extend_from_slice(inherited);
    }

    pub(super) fn take_verified(&mut self) -> Option<Vec<Range<i64>>> {
        let verified = &mut self.0.as_mut()?.verified;
        (!verified.is_empty()).then(|| std::mem::take(verified))
    }

    pub(super) fn note_counted(&mut self, less: Vec<Range<i64>>, said: u64) {
        self.known_mut().counted = Some((less, said));
    }

    pub(super) fn has_counted(&self, ranges: &[Range<i64>], said: u64) -> bool {
        self.known().counted.as_ref().is_some_and(|(less, by)| less == ranges && *by == said)
    }

    /// A run has failed; or one has come to its end, and those before it do not count any more.
    pub(super) fn note_run(&mut self, has_failed: bool) {
        let failed_runs = if has_failed { self.known().failed_runs + 1 } else { 0 };
        if failed_runs != self.known().failed_runs {
            self.known_mut().failed_runs = failed_runs;
        }
    }

    /// A save of a stop's end was refused, or got through.
    pub(super) fn note_stop_saved(&mut self, refusal: Option<&StoreError>) {
        self.note_unsaved(refusal);
        if refusal.is_some() {
            let known = self.known_mut();
            known.saves_refused += 1;
            known.refused_in_a_row = known.refused_in_a_row.saturating_add(1);
        } else if let Some(known) = &mut self.0 {
            known.refused_in_a_row = 0;
        }
    }

    pub(super) fn note_unsaved(&mut self, error: Option<&StoreError>) {
        if error.is_none() && self.known().unsaved.is_none() {
            return;
        }
        let known = self.known_mut();
        let former = std::mem::replace(&mut known.unsaved, error.cloned());
        known.refuse.extend(former);
    }

    /// What has to be dropped without the lock.
    pub(super) fn take_refuse(&mut self) -> Vec<StoreError> {
        self.0.as_mut().map(|known| std::mem::take(&mut known.refuse)).unwrap_or_default()
    }
}
