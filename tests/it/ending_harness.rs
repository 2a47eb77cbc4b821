//! The tantivy engine on a disk that can end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{Engine, FieldType, JobContext, SourceDocument};
use rollup_jobs::testing::EngineHarness;
use serde_json::Value;

use crate::disk::{Disk, Left};
use crate::tantivy_harness::{add_to_index, read_rollup, source_schema};

pub struct EndingHarness {
    left: Left,
    machine: Mutex<(Disk, Arc<TantivyEngine>)>,
    indices: Mutex<BTreeMap<String, Index>>,
}

impl EndingHarness {
    /// An end leaves the disk like this.
    pub fn new(left: Left) -> Self {
        Self { left, machine: Mutex::new(started(Disk::default())), indices: Mutex::default() }
    }

    fn tantivy(&self) -> Arc<TantivyEngine> {
        Arc::clone(&self.machine.lock().unwrap().1)
    }
}

fn started(disk: Disk) -> (Disk, Arc<TantivyEngine>) {
    let engine = TantivyEngine::on(Arc::new(disk.clone()), TantivyOptions::new());
    (disk, Arc::new(engine))
}

impl EngineHarness for EndingHarness {
    fn engine(&self) -> Arc<dyn Engine> {
        self.tantivy()
    }

    fn create_index(&self, name: &str, fields: &[(&str, FieldType)]) {
        let index = Index::create_in_ram(source_schema(fields));
        self.tantivy().register(name, &index).unwrap();
        self.indices.lock().unwrap().insert(name.to_owned(), index);
    }

    fn add(&self, name: &str, documents: &[SourceDocument]) {
        add_to_index(&self.indices.lock().unwrap()[name], documents);
    }

    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value> {
        let index = self.tantivy().rollup_index(job.config().rollup_index(), job.id()).unwrap();
        index.map(|index| read_rollup(&index)).unwrap_or_default()
    }

    fn end_at(&self, change: u64) -> bool {
        let disk = &self.machine.lock().unwrap().0;
        disk.cut_at(disk.changes() + change);
        true
    }

    fn restart(&self) {
        let mut machine = self.machine.lock().unwrap();
        *machine = started(machine.0.after_cut(self.left));
        for (name, index) in &*self.indices.lock().unwrap() {
            machine.1.register(name, index).unwrap();
        }
    }
}
