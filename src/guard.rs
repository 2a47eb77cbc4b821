//! Code that is not ours: engines, stores, observers and wakers may panic, and that is an answer like any other.
//!
//! It can panic in more places than where it is called: an error while its text is made, anything while it is
//! dropped, and even the payload of a panic. So whatever is foreign is called, turned into a text and dropped through
//! this file.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code; its panic becomes a text.
pub(crate) fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic_text(&*panic);
        discard(panic);
        text
    })
}

/// Drops something foreign. What panics while it is dropped harms nobody.
pub(crate) fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(value))) {
        // A payload that panics as it is dropped may have a payload that does the same, without end: this one is
        // leaked.
        std::mem::forget(catch_unwind(AssertUnwindSafe(move || drop(panic))));
    }
}

/// `error` and its causes, one text each. One whose text panics says so.
pub(crate) fn texts_of(error: &(dyn Error + 'static)) -> Vec<String> {
    /// A chain of causes that goes round in a circle ends here.
    const MAX: usize = 32;
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next.filter(|_| texts.len() < MAX) {
        let text = guarded(|| error.to_string());
        texts.push(text.unwrap_or_else(|panic| format!("an error whose text panicked: {panic}")));
        next = guarded(|| error.source()).unwrap_or_default();
    }
    texts
}

/// A foreign text in a message of ours: at most `longest` characters on one line, and nothing that a terminal acts on.
pub(crate) fn plain(text: &str, longest: usize, for_control: char) -> String {
    let kept = text.chars().take(longest).map(|c| if c.is_control() { for_control } else { c });
    let more = if text.chars().nth(longest).is_some() { "..." } else { "" };
    kept.chain(more.chars()).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsAsItIsDropped(u32);

    impl Drop for PanicsAsItIsDropped {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn payloads_that_panic_as_they_are_dropped_end_here() {
        for depth in 0..5 {
            assert_eq!(guarded(|| std::panic::panic_any(PanicsAsItIsDropped(depth))), Err("no message".to_owned()));
            discard(PanicsAsItIsDropped(depth));
        }
    }
}
