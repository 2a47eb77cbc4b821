//! `TracingObserver`: what of a job becomes an event, and how loud it is.

use std::sync::Arc;

use rollup_jobs::{LateDocuments, Observer};

use crate::support::{Heard, World, loaded};

/// Counts what reaches it, by level.
#[derive(Default)]
struct Counting(std::sync::Mutex<Vec<(tracing::Level, String)>>);

impl tracing::Subscriber for Counting {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            fields.extend([field.name(), "=", &format!("{value:?} ")]);
        });
        self.0.lock().unwrap().push((*event.metadata().level(), fields));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn the_tracing_observer_reports_states_turns_runs_and_errors() {
    let (world, engine) = World::faulty(loaded(), rollup_jobs::testing::EngineFault::Rejected);
    world.put_started("sensor");
    engine.fail_at(3);
    world.run("sensor");
    engine.heal();
    world.run("sensor");
    // The observer is told what was heard, in this thread, where the subscriber is.
    let subscriber = Arc::new(Counting::default());
    tracing::subscriber::with_default(subscriber.clone(), || {
        let observer = rollup_jobs::TracingObserver::new();
        for heard in world.watcher.heard() {
            match heard {
                Heard::State(id, change) => observer.state_changed(&id, &change),
                Heard::Turn(id, turn) => observer.turn_ended(&id, &turn),
                Heard::Run(id, run) => observer.run_ended(&id, &run),
                Heard::Error(id, _) => observer.error(&id, &world.status(&id).last_errors()[0]),
                Heard::Late(id, late) => observer.late_documents(&id, &late),
            }
        }
        let mut late = LateDocuments::default();
        late.noticed = 7;
        observer.late_documents("sensor", &late);
    });
    let events = subscriber.0.lock().unwrap().clone();
    let has = |level, text: &str| events.iter().any(|(at, fields)| *at == level && fields.contains(text));
    assert!(has(tracing::Level::INFO, "from=stopped to=started"), "{events:#?}");
    assert!(has(tracing::Level::DEBUG, "rollups=30"), "{events:#?}");
    assert!(has(tracing::Level::WARN, "planned fault"), "{events:#?}");
    assert!(has(tracing::Level::INFO, "outcome=Finished"), "{events:#?}");
    assert!(has(tracing::Level::INFO, "documents=7"), "{events:#?}");
}
