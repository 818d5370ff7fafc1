//! Work on the pool that its owner waits for later.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, channel},
};

use crate::error::{Error, Result};

/// Work under way. Dropped before it was waited for, it is waited for then: nothing of a run goes on after the run.
pub struct Job<T>(Receiver<Result<T>>);

impl<T: Send + 'static> Job<T> {
    /// Begin.
    pub fn begin(pool: &rayon::ThreadPool, work: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        pool.spawn(move || {
            // The receiver is gone only when nobody asks any more.
            let _ = sender.send(caught("a job panicked", work));
        });
        Self(receiver)
    }

    /// What it came to. Not to be asked on a thread of the pool, which may be the one that is to do the work.
    ///
    /// # Errors
    /// Those of the work.
    pub fn wait(self) -> Result<T> {
        self.0.recv().unwrap_or_else(|_| Err(Error::Internal("the threads went away".into())))
    }
}

/// What work comes to; a panic is an error that `panicked` says.
pub fn caught<T>(panicked: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::Internal(panicked.to_owned())))
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}
