//! A host that says at every start which jobs it wants.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rollup_jobs::{
    DateHistogram, Histogram, JobState, JobUpdate, Metric, PutError, PutOptions, PutOrKeepError, PutOrKeepOptions,
    PutOutcome, RollupJobConfigBuilder, RunAs, UpdateError,
};

use crate::support::{PATIENCE, World, config, hold, in_thread, undisturbed};

fn keep(world: &World, config: RollupJobConfigBuilder) -> Result<PutOutcome, PutOrKeepError> {
    world.manager.put_or_keep(config.build().unwrap())
}

#[test]
fn a_host_that_starts_again_finds_its_job_as_it_was() {
    let world = World::new();
    assert_eq!(keep(&world, config("sensor")).unwrap(), PutOutcome::Created);
    assert_eq!(world.state("sensor"), JobState::Stopped);
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    let position = world.status("sensor").position().cloned();
    let again = world.after_crash();
    let saves = again.store.updates.load(Ordering::SeqCst);
    assert_eq!(keep(&again, config("sensor")).unwrap(), PutOutcome::Kept);
    assert_eq!((again.state("sensor"), again.status("sensor").position().cloned()), (JobState::Started, position));
    assert_eq!(again.store.updates.load(Ordering::SeqCst), saves, "nothing was saved for it");
    assert_eq!(again.documents(), undisturbed("sensor"));
}

#[test]
fn other_settings_are_taken_over_or_refused_as_asked() {
    let world = World::new();
    keep(&world, config("sensor")).unwrap();
    let date = DateHistogram::fixed_interval("timestamp", "1h").delay("2h");
    let other = || config("sensor").cron("0 0 12 * * ?").page_size(9).timeout("1m").date_histogram(date.clone());
    let options = PutOrKeepOptions::new().refuse_other_settings(true);
    let refused = world.manager.put_or_keep_with(other().build().unwrap(), options.clone());
    let Err(PutOrKeepError::OtherSettings { job_id, differences }) = refused else { panic!("it is asked to refuse") };
    let fields: Vec<_> = differences.iter().map(rollup_jobs::Difference::field).collect();
    assert_eq!(
        (job_id.as_str(), fields),
        ("sensor", vec!["cron", "page_size", "timeout", "groups.date_histogram.delay"])
    );
    assert_eq!(world.status("sensor").config().unwrap().page_size(), 4);

    assert_eq!(keep(&world, other()).unwrap(), PutOutcome::Updated);
    assert_eq!(*world.after_crash().status("sensor").config().unwrap(), other().build().unwrap());
    assert_eq!(world.manager.put_or_keep_with(other().build().unwrap(), options).unwrap(), PutOutcome::Kept);
}

#[test]
fn a_job_whose_documents_are_others_is_left_alone() {
    let world = World::new();
    keep(&world, config("sensor")).unwrap();
    for (other, field) in [
        (config("sensor").index_pattern("sensor-1"), "index_pattern"),
        (config("sensor").rollup_index("elsewhere"), "rollup_index"),
        (config("sensor").terms(["other"]), "groups.terms.fields"),
        (config("sensor").metric("more", [Metric::Max]), "metrics"),
        (config("sensor").histogram(Histogram::new(5.0, ["load"])), "groups.histogram"),
        (
            config("sensor").date_histogram(DateHistogram::fixed_interval("timestamp", "2h")),
            "groups.date_histogram.fixed_interval",
        ),
        (
            config("sensor").date_histogram(DateHistogram::fixed_interval("timestamp", "1h").time_zone("Asia/Tokyo")),
            "groups.date_histogram.time_zone",
        ),
    ] {
        let refused = keep(&world, other.page_size(77));
        let Err(error @ PutOrKeepError::OtherIdentity { .. }) = refused else { panic!("{field}: {refused:?}") };
        assert!(error.to_string().contains(&format!("[{field}] is ")), "{error}");
        assert_eq!(world.status("sensor").config().unwrap().page_size(), 4, "not even its settings");
    }
}

#[test]
fn whom_it_acts_for_is_part_of_it_and_not_shown() {
    let world = World::new();
    let secret = || PutOrKeepOptions::new().run_as(RunAs::new("secret-user"));
    let config = || config("sensor").build().unwrap();
    assert_eq!(world.manager.put_or_keep_with(config(), secret()).unwrap(), PutOutcome::Created);
    assert_eq!(world.manager.put_or_keep_with(config(), secret()).unwrap(), PutOutcome::Kept);
    let refused = world.manager.put_or_keep(config()).unwrap_err();
    assert!(matches!(&refused, PutOrKeepError::OtherIdentity { differences, .. } if differences.len() == 1));
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("[run_as] is another") && !text.contains("secret"), "{text}");
}

#[test]
fn order_does_not_count() {
    let world = World::new();
    let one = config("sensor").terms(["node", "level"]).metric("load", [Metric::Min, Metric::Max]);
    let other = rollup_jobs::RollupJobConfig::builder("sensor")
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(4)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .terms(["level", "node"])
        .metric("load", [Metric::Max, Metric::Min])
        .metric("temperature", [Metric::ValueCount, Metric::Avg, Metric::Sum, Metric::Max, Metric::Min]);
    for field in ["level", "load"] {
        world.data.map("sensor-1", field, rollup_jobs::engine::FieldType::Long);
    }
    assert_eq!(keep(&world, one).unwrap(), PutOutcome::Created);
    assert_eq!(keep(&world, other).unwrap(), PutOutcome::Kept);
}

#[test]
fn a_job_that_cannot_be_put_is_an_error_as_of_put() {
    let world = World::new();
    let error = keep(&world, config("sensor").terms(["nobody"])).unwrap_err();
    assert!(matches!(error, PutOrKeepError::Put(PutError::Invalid(_))));
    assert!(world.manager.list().is_empty());
}

#[test]
fn while_somebody_puts_it_it_is_there_and_not_there() {
    let world = World::new();
    let (held, inside, go) = hold();
    let once = std::sync::Mutex::new(Some(held));
    world.store.on_update(move |_| {
        let held = once.lock().unwrap().take();
        if let Some(held) = held {
            held();
        }
    });
    let manager = Arc::clone(&world.manager);
    let put = in_thread(move || manager.put_with(config("sensor").build().unwrap(), PutOptions::new()));
    inside.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(keep(&world, config("sensor")), Err(PutOrKeepError::Put(PutError::AlreadyExists { .. }))));
    go.send(()).unwrap();
    crate::support::JoinInTime::join_in_time(put).unwrap();
    assert_eq!(keep(&world, config("sensor")).unwrap(), PutOutcome::Kept);
}

#[test]
fn an_update_that_is_refused_is_an_error_as_of_update() {
    let world = World::new();
    keep(&world, config("sensor")).unwrap();
    world.store.refuse_updates(true);
    let error = keep(&world, config("sensor").page_size(5)).unwrap_err();
    assert!(matches!(error, PutOrKeepError::Update(UpdateError::Store { .. })));
    world.store.refuse_updates(false);
    world.manager.update("sensor", JobUpdate::new().page_size(5)).unwrap();
    assert_eq!(keep(&world, config("sensor").page_size(5)).unwrap(), PutOutcome::Kept);
}
