//! What a call costs that does not wait: of a stopped, an idle and an indexing job, among 1, 1,000 and 100,000 of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use rollup_jobs::StopOptions;

use crate::scale::manager;
use crate::waiting::Parked;

type Cell = Arc<(parking_lot::Mutex<u64>, parking_lot::Condvar)>;

pub(crate) fn by_number_of_jobs(criterion: &mut Criterion) {
    for jobs in [1, 1_000, 100_000] {
        let (manager, _) = manager(jobs, false);
        let id = format!("job-{:06}", jobs / 2);
        let mut group = criterion.benchmark_group(format!("calls, {jobs} jobs"));
        group.sample_size(50).measurement_time(Duration::from_secs(2));

        // The same look-up by the same keys, a lock, a flip, a notification.
        let cells: HashMap<String, Cell> = (0..jobs).map(|n| (format!("job-{n:06}"), Cell::default())).collect();
        let cells = parking_lot::RwLock::new(cells);
        group.bench_function("baseline: look-up, lock, flip, notify", |b| {
            b.iter(|| {
                let cell = Arc::clone(&cells.read()[&id]);
                *cell.0.lock() += 1;
                cell.1.notify_all();
            });
        });
        group.bench_function("stop, already stopped", |b| b.iter(|| manager.stop(&id, StopOptions::new()).unwrap()));
        group.bench_function("stop, idle (with its save)", |b| {
            b.iter_batched(
                || manager.start(&id).unwrap(),
                |()| manager.stop(&id, StopOptions::new()).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

pub(crate) fn while_indexing(criterion: &mut Criterion) {
    let parked = Parked::new(Duration::ZERO);
    let mut group = criterion.benchmark_group("calls, indexing");
    group.sample_size(50).measurement_time(Duration::from_secs(2));
    group.bench_function("stop without waiting", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                parked.begin();
                let began = Instant::now();
                let stopped = parked.manager.stop("sensor", StopOptions::new()).unwrap();
                spent += began.elapsed();
                stopped.completion().wait(Duration::MAX).unwrap();
            }
            spent
        });
    });
    group.finish();
}
