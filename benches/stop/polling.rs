//! Against Elasticsearch's algorithm: look at the state, sleep 1, 2, 4 ... 1,000 ms, look again.

use std::time::Duration;

use criterion::Criterion;
use rollup_jobs::{JobState, StopOptions};

use crate::latencies::Latencies;
use crate::waiting::{Parked, waiting};

/// Runs that end between half and one and a half times `nominal` after the stop.
fn busy(nominal: Duration, round: u64) -> Duration {
    nominal.mul_f64(0.5 + f64::from(u32::try_from(round * 7_919 % 1_000).unwrap()) / 1_000.0)
}

fn poll(parked: &Parked) {
    let _ = parked.manager.stop("sensor", StopOptions::new()).unwrap();
    let mut sleep = Duration::from_millis(1);
    while parked.manager.get("sensor").unwrap().state() != JobState::Stopped {
        std::thread::sleep(sleep);
        sleep = (sleep * 2).min(Duration::from_secs(1));
    }
}

pub(crate) fn against_polling(criterion: &mut Criterion) {
    let parked = Parked::new(Duration::ZERO);
    let mut table = Vec::new();
    for (millis, rounds) in [(1, 200_u64), (10, 100), (100, 30), (1_000, 10)] {
        let nominal = Duration::from_millis(millis);
        let mut group = criterion.benchmark_group(format!("polling, runs of {millis} ms"));
        group.sample_size(10).measurement_time(Duration::from_millis(1)).warm_up_time(Duration::from_millis(1));
        let mut medians = Vec::new();
        for polls in [false, true] {
            let mut latencies = Latencies::default();
            let mut measured = false;
            let name = if polls { "baseline: polling" } else { "stop with waiting" };
            group.bench_function(name, |b| {
                b.iter_custom(|iterations| {
                    // The same rounds once, however often criterion asks.
                    if !std::mem::replace(&mut measured, true) {
                        for round in 0..rounds {
                            parked.busy(busy(nominal, round));
                            parked.begin();
                            if polls {
                                poll(&parked);
                            } else {
                                assert!(parked.manager.stop("sensor", waiting()).unwrap().is_at_rest());
                            }
                            latencies.push(parked.since_saved());
                        }
                    }
                    latencies.quantile(50).unwrap() * u32::try_from(iterations).unwrap()
                });
            });
            medians.extend(latencies.quantile(50).map(|median| median.as_secs_f64() * 1e6));
        }
        group.finish();
        if let [ours, polled] = medians[..] {
            table.push(format!(
                "    runs of {millis} ms: added {ours:.1} us, polling {polled:.0} us: {:.0} times less",
                polled / ours
            ));
        }
    }
    println!("{}", table.join("\n"));
}
