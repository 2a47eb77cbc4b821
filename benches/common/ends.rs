//! Tells of each run that has ended.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rollup_jobs::{Observer, RunEnded};

struct End(Mutex<Sender<()>>);

impl Observer for End {
    fn run_ended(&self, _: &str, _: &RunEnded) {
        // Nobody may listen any more.
        let _ = self.0.lock().unwrap().send(());
    }
}

/// An observer, and what it tells.
pub(crate) fn ends() -> (Arc<dyn Observer>, Receiver<()>) {
    let (sender, ends) = channel();
    (Arc::new(End(Mutex::new(sender))), ends)
}
