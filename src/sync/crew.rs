use std::io;

use super::Arc;
use super::chosen::{JoinHandle, Mutex, ThreadId, current_thread, spawn};

/// A manager's threads, which must not wait for each other.
#[derive(Clone, Default)]
pub(crate) struct Crew(Arc<Mutex<Vec<ThreadId>>>);

impl Crew {
    /// Starts a named thread, which belongs to the crew from its first step to its last.
    pub(crate) fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let crew = self.clone();
        spawn(name, move || {
            let _member = Member::join(&crew);
            body();
        })
    }

    /// Whether the caller is one of them.
    pub(crate) fn has_current(&self) -> bool {
        self.0.lock().contains(&current_thread())
    }
}

/// Leaves the crew again, also when its thread unwinds.
struct Member<'a>(&'a Crew);

impl<'a> Member<'a> {
    fn join(crew: &'a Crew) -> Self {
        crew.0.lock().push(current_thread());
        Self(crew)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let own = current_thread();
        self.0.0.lock().retain(|id| *id != own);
    }
}
