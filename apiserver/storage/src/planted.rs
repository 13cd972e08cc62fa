//! A fault that is built in on purpose, for a test that must find it. Compiled only with the feature `planted`, and even then
//! harmless until it is switched on.

use std::cell::Cell;

thread_local! {
    static UNFENCED: Cell<bool> = const { Cell::new(false) };
}

/// Has the writes of this thread ignore their fences, or not.
pub fn set_unfenced(unfenced: bool) {
    UNFENCED.set(unfenced);
}

pub(crate) fn unfenced() -> bool {
    UNFENCED.get()
}
