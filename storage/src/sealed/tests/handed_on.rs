//! What has nothing to seal is the store's behind.

use super::*;
use crate::front::Front;
use crate::mem::MemStore;
use parking_lot::Mutex;

/// A store that notes what it is told.
#[derive(Default)]
struct Told {
    store: MemStore,
    said: Mutex<Vec<String>>,
}

impl Front for Told {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn is_behind(&self) -> bool {
        true
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.said.lock().push("catch up".into());
        Ok(())
    }

    fn leaving(&self, still_running: usize) {
        self.said.lock().push(format!("{still_running} run"));
    }

    fn reached_at(&self, addresses: &[String]) {
        self.said.lock().extend_from_slice(addresses);
    }
}

/// Who came second was not told where a sealed engine is reached.
#[test]
fn a_sealed_store_hands_on_what_it_does_not_seal() {
    let told = Arc::new(Told::default());
    let sealed = SealedStore::open(Arc::<Told>::clone(&told), new()).unwrap();
    sealed.reached_at(&["http://127.0.0.1:1".into()]);
    assert!(sealed.is_behind());
    assert_eq!(sealed.catch_up(), Ok(()));
    sealed.leaving(3);
    let said = ["http://127.0.0.1:1", "catch up", "3 run"];
    assert_eq!(*told.said.lock(), said);
}
