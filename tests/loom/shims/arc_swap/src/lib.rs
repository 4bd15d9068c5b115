//! As much of `arc_swap` as the recorder's streams use, over loom.

use std::fmt;
use std::sync::Arc;

use loom::sync::Mutex;

pub struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

impl<T> fmt::Debug for ArcSwapOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArcSwapOption")
    }
}

impl<T> ArcSwapOption<T> {
    pub fn empty() -> Self {
        Self(Mutex::new(None))
    }
    pub fn store(&self, value: Option<Arc<T>>) {
        *self.0.lock().unwrap() = value;
    }
    pub fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        std::mem::replace(&mut self.0.lock().unwrap(), value)
    }
    pub fn load_full(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap().clone()
    }
}
