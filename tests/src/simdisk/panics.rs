//! Panics of this thread: they are violations wherever they are caught, and are not printed one by one.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static HERE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps what panics say from now on, instead of printing it.
pub fn keep() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printed = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if SIMULATED.get() {
                HERE.with_borrow_mut(|here| here.push(panic.to_string()));
            } else {
                printed(panic);
            }
        }));
    });
    SIMULATED.set(true);
}

/// Panics of this thread are printed again.
pub fn print() {
    SIMULATED.set(false);
}

/// What panicked on this thread since this was last asked.
pub fn taken() -> Vec<String> {
    HERE.take()
}
