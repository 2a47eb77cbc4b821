//! Searches at the live edge, on the engines that need nothing installed.

use rollup_jobs::engine::MemoryEngine;
use rollup_jobs::testing::MemoryHarness;

use super::cases;
use super::live_edge::{Data, FIELDS, each_answer_is_that_of_one_moment};

fn are_of_one_moment(make: impl Fn() -> Data) {
    each_answer_is_that_of_one_moment(cases(400) as usize, make);
}

fn memory(in_an_index: Option<usize>) -> Data {
    let engine = MemoryEngine::new();
    for (field, kind) in FIELDS {
        engine.map("sensor-0", field, kind);
    }
    let drop = Box::new({
        let engine = engine.clone();
        move |name: &str| assert!(engine.remove_index(name))
    });
    Data {
        harness: Box::new(MemoryHarness::new(engine)),
        drop,
        batch: 3,
        in_an_index,
        page_size: 7,
        answers_between: 0,
        may_be_unavailable: false,
    }
}

#[test]
fn in_memory() {
    are_of_one_moment(|| memory(None));
}

#[test]
fn in_memory_while_indices_come_and_go() {
    are_of_one_moment(|| Data { answers_between: 5, ..memory(Some(150)) });
}

#[cfg(feature = "tantivy")]
fn tantivy(harness: crate::tantivy_harness::TantivyHarness, in_an_index: Option<usize>) -> Data {
    let drop = Box::new({
        let engine = harness.tantivy();
        move |name: &str| assert!(engine.unregister(name))
    });
    Data {
        harness: Box::new(harness),
        drop,
        batch: 25,
        in_an_index,
        page_size: 7,
        answers_between: 0,
        may_be_unavailable: false,
    }
}

#[cfg(feature = "tantivy")]
#[test]
fn with_tantivy() {
    are_of_one_moment(|| tantivy(crate::tantivy_harness::TantivyHarness::in_ram(), None));
}

#[cfg(feature = "tantivy")]
#[test]
fn with_tantivy_while_indices_come_and_go() {
    let make = || tantivy(crate::tantivy_harness::TantivyHarness::in_ram(), Some(150));
    are_of_one_moment(|| Data { answers_between: 5, ..make() });
}

#[cfg(feature = "tantivy")]
#[test]
fn with_tantivy_on_disk() {
    let make = || tantivy(crate::tantivy_harness::TantivyHarness::on_disk(), None);
    // A commit waits for the disk.
    are_of_one_moment(|| Data { answers_between: 20, ..make() });
}
