use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use crate::job::{Identity, JobDefinition, RollupJobConfig, RunAs, TermsType};
use crate::rollup::DocumentLayout;
use crate::scan::ScanRequest;
use crate::sync::Arc;

/// The job that an engine call is made for.
#[derive(Clone)]
pub struct JobContext {
    definition: Arc<JobDefinition>,
    /// Made when it is first asked for: most of a hundred thousand jobs are idle.
    layout: OnceLock<Arc<DocumentLayout>>,
    epoch: u64,
}

impl JobContext {
    /// The context of a job whose terms fields have these types, in configured order. The manager makes it; an engine's
    /// own tests need it too.
    #[must_use]
    pub fn new(config: RollupJobConfig, terms_types: &[TermsType]) -> Self {
        Self::of(Arc::new(JobDefinition { config, terms_types: terms_types.to_vec(), run_as: None }))
    }

    pub(crate) fn of(definition: Arc<JobDefinition>) -> Self {
        Self { definition, layout: OnceLock::new(), epoch: 0 }
    }

    /// The same job with other settings.
    #[must_use]
    pub(crate) fn with_settings(&self, config: RollupJobConfig) -> Self {
        Self { definition: Arc::new(JobDefinition { config, ..(*self.definition).clone() }), ..self.clone() }
    }

    /// For the user that the job acts for. Default: nobody.
    #[must_use]
    pub fn with_run_as(mut self, run_as: Option<RunAs>) -> Self {
        Arc::make_mut(&mut self.definition).run_as = run_as;
        self
    }

    /// Under this ownership of the job store. Default: 0.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    pub(crate) fn definition(&self) -> &Arc<JobDefinition> {
        &self.definition
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.config().id()
    }

    /// The job's configuration.
    #[must_use]
    pub fn config(&self) -> &RollupJobConfig {
        &self.definition.config
    }

    /// The fields of the job's rolled-up documents.
    #[must_use]
    pub fn layout(&self) -> &Arc<DocumentLayout> {
        self.layout.get_or_init(|| Arc::new(DocumentLayout::new(self.config(), self.terms_types())))
    }

    /// The scan that rolls the job up: all groups of its configuration, with its page size.
    ///
    /// ```
    /// # use rollup_jobs::engine::JobContext;
    /// # use rollup_jobs::scan::Times;
    /// # use rollup_jobs::{DateHistogram, KeyPart, RollupJobConfig};
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?")
    /// #     .page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?;
    /// # let job = JobContext::new(config, &[]);
    /// let request = job.scan_request().times(Times::buckets_before(3_600_000)).after(vec![KeyPart::Date(0)]);
    /// assert_eq!(request.page_size, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn scan_request(&self) -> ScanRequest {
        ScanRequest::new(Arc::clone(self.layout().grouping())).page_size(self.config().page_size())
    }

    /// The kinds of values of the terms fields, in configured order.
    #[must_use]
    pub fn terms_types(&self) -> &[TermsType] {
        &self.definition.terms_types
    }

    /// The way in which its source indices are looked at for changes: what was seen one way says nothing of another.
    pub(crate) fn way_of_looking(&self) -> String {
        let date_field = self.layout().grouping().date_field();
        match self.config().late_data().notices_by() {
            None => date_field.to_owned(),
            Some(by) => format!("{date_field}/{}", by.name()),
        }
    }

    /// Whether a definition, as [`RollupJobConfig::to_json`] or Elasticsearch prints it, is one of this job: whether
    /// its documents depend on the same. Its settings may differ, and the order in which it names fields and metrics.
    #[must_use]
    pub fn is_same_job(&self, definition: &Value) -> bool {
        *definition == self.config().to_json()
            || Identity::of_json(definition).is_some_and(|identity| identity == self.config().identity())
    }

    /// Whom the job acts for: what was given at put.
    #[must_use]
    pub fn run_as(&self) -> Option<&RunAs> {
        self.definition.run_as.as_ref()
    }

    /// Which ownership of the job store the call is made under; writes of an older one must not overwrite those of a
    /// newer.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("id", &self.id()).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
