//! Points in time: what a scan reads from. There are only so many at once.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::of_job;
use crate::cluster::{Answer, Cause, Cluster, Failure, Kind, Product, Request, Shards, time_value};
use crate::engine::{JobContext, StopSignal};
use crate::job::RunAs;
use crate::sync::{Arc, Mutex, Weak};

/// The points in time of an engine.
pub(super) struct Snapshots {
    cluster: Cluster,
    most: usize,
    /// Whether one that is not read from is taken away when there are too many. Else the indices are read as they are.
    takes_away: bool,
    /// Those that are open; the one that was read from last is the last.
    open: Mutex<VecDeque<Weak<Slot>>>,
}

type Slot = Mutex<HeldPoint>;

/// The point in time of a scan.
pub(super) struct HeldPoint {
    /// None if it was taken away.
    point: Option<PointInTime>,
    /// How many searches of it are on their way; before the first, that one counts.
    reads: usize,
    is_new: bool,
}

/// An open point in time, closed when it is dropped.
struct PointInTime {
    id: String,
    cluster: Cluster,
    product: Product,
    run_as: Option<RunAs>,
}

/// What scans read from.
#[derive(Clone)]
pub(super) enum Snapshot {
    /// A point in time, unless another run has taken it away.
    PointInTime(Arc<Slot>),
    /// The indices as they are: the cluster has no point in time to give.
    Live(String),
    /// There is no index.
    Nothing,
}

impl Snapshots {
    /// Those of runs, which open another one if theirs was taken away.
    pub(super) fn of_runs(cluster: Cluster, most: usize) -> Self {
        Self { cluster, most, takes_away: true, open: Mutex::default() }
    }

    /// Those of searches, which keep theirs.
    pub(super) fn of_searches(cluster: Cluster, most: usize) -> Self {
        Self { takes_away: false, ..Self::of_runs(cluster, most) }
    }

    /// Opens a point in time over the indices of an expression.
    pub(super) fn open(
        &self,
        job: &JobContext,
        indices: &str,
        keep_alive: Duration,
        stop: &StopSignal,
    ) -> Result<Snapshot, Failure> {
        let Some(opened) = self.reserve() else { return Ok(Snapshot::Live(indices.to_owned())) };
        let product = self.cluster.product(stop)?;
        let keep_alive = time_value(keep_alive);
        let request = match product.kind {
            Kind::Elasticsearch => Request::post([indices, "_pit"]),
            Kind::OpenSearch => {
                Request::post([indices, "_search", "point_in_time"]).query("allow_partial_pit_creation", "false")
            }
        };
        // Done twice there would be two, of which nobody knew the first.
        let request = of_job(job, request.once().query("keep_alive", keep_alive));
        let run_as = job.run_as().cloned();
        let undo_run_as = run_as.clone();
        let undo = move |answer: Answer| {
            let answer = answer.json().ok()?;
            let id = point_id(product, &answer)?;
            Some(closing(product, &id, undo_run_as.as_ref()))
        };
        let answer = match self.cluster.send(request).answer_or_undo(stop, undo) {
            Ok(answer) => answer.json()?,
            // Too many are open.
            Err(failure) if failure.cause() == Cause::NoSnapshot => return Ok(Snapshot::Live(indices.to_owned())),
            Err(failure) => return Err(failure),
        };
        let Some(id) = point_id(product, &answer) else {
            return Err(Failure::new(Cause::Unavailable, "the answer to the opening of a point in time has no id"));
        };
        opened.lock().point = Some(PointInTime { id, cluster: self.cluster.clone(), product, run_as });
        if let Ok(Shards { total, successful, .. }) = serde_json::from_value(answer["_shards"].clone())
            && successful < total
        {
            let text = format!("only {successful} of {total} shards are there: the others would be left out");
            return Err(Failure::new(Cause::Unavailable, text));
        }
        Ok(Snapshot::PointInTime(opened))
    }

    /// A place for one more, which counts as open and being read from. If there is none, those that have not been
    /// read from for longest are taken away from scans that are parked, if any may be.
    fn reserve(&self) -> Option<Arc<Slot>> {
        let place = Arc::new(Mutex::new(HeldPoint { point: None, reads: 1, is_new: true }));
        let mut discarded = Vec::new();
        let mut open = self.open.lock();
        let is_open = |held: &HeldPoint| held.point.is_some() || held.reads > 0;
        open.retain(|one| one.upgrade().is_some_and(|one| is_open(&one.lock())));
        if open.len() >= self.most && !self.takes_away {
            return None;
        }
        let mut at = 0;
        while open.len() >= self.most && at < open.len() {
            let taken = open[at].upgrade().and_then(|one| {
                let mut held = one.lock();
                if held.reads > 0 { None } else { held.point.take() }
            });
            match taken {
                Some(taken) => {
                    discarded.push(taken);
                    open.remove(at);
                }
                None => at += 1,
            }
        }
        open.push_back(Arc::downgrade(&place));
        drop(open);
        drop(discarded);
        Some(place)
    }

    /// It was read from.
    fn used(&self, snapshot: &Arc<Slot>) {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|one| std::ptr::eq(one.as_ptr(), Arc::as_ptr(snapshot)))
            && let Some(one) = open.remove(at)
        {
            open.push_back(one);
        }
    }
}

impl Snapshot {
    /// A search of it, which is on its way until [`was_read`](Self::was_read); none if there is nothing to read from
    /// (any more).
    pub(super) fn search(
        &self,
        snapshots: &Snapshots,
        job: &JobContext,
        mut body: Value,
        keep_alive: Duration,
    ) -> Option<Request> {
        let request = match self {
            Self::PointInTime(slot) => {
                let mut held = slot.lock();
                let id = held.point.as_ref()?.id.clone();
                held.reads += usize::from(!std::mem::take(&mut held.is_new));
                drop(held);
                snapshots.used(slot);
                body["pit"] = json!({ "id": id, "keep_alive": time_value(keep_alive) });
                Request::post(["_search"])
            }
            Self::Live(indices) => Request::post([indices, "_search"]),
            Self::Nothing => return None,
        };
        let request = request.query("allow_partial_search_results", "false").query("request_cache", "false");
        Some(of_job(job, request.json(&body)))
    }

    /// The search has been answered, or given up. The cluster may answer another id than it was asked by.
    pub(super) fn was_read(&self, id: Option<String>) {
        if let Self::PointInTime(slot) = self {
            let mut held = slot.lock();
            held.reads = held.reads.saturating_sub(1);
            if let (Some(point), Some(id)) = (&mut held.point, id) {
                point.id = id;
            }
        }
    }

    /// Whether it can still be read from.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::PointInTime(slot) => slot.lock().point.is_some(),
            Self::Live(_) | Self::Nothing => true,
        }
    }
}

impl Drop for PointInTime {
    /// Nobody waits for it: one that is not closed ends by itself a little later.
    fn drop(&mut self) {
        self.cluster.send(closing(self.product, &self.id, self.run_as.as_ref())).leave();
    }
}

/// The id of a point in time that was opened.
fn point_id(product: Product, answer: &Value) -> Option<String> {
    let name = match product.kind {
        Kind::Elasticsearch => "id",
        Kind::OpenSearch => "pit_id",
    };
    answer[name].as_str().map(str::to_owned)
}

fn closing(product: Product, id: &str, run_as: Option<&RunAs>) -> Request {
    let request = match product.kind {
        Kind::Elasticsearch => Request::delete(["_pit"]).json(&json!({ "id": id })),
        Kind::OpenSearch => Request::delete(["_search", "point_in_time"]).json(&json!({ "pit_id": [id] })),
    };
    request.run_as(run_as)
}
