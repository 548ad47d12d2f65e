//! The tasks of the chain, and how they end.

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ChainError;

/// Tasks of the chain. None of them ends by itself.
#[derive(Debug)]
pub(crate) struct Tasks {
    all: JoinSet<Result<(), ChainError>>,
    is_stopped: watch::Sender<bool>,
}

/// Tells the task that settles to end behind its batch. The task has ended when this is dropped.
#[derive(Debug)]
pub(crate) struct StopSettling(watch::Receiver<bool>);

impl StopSettling {
    /// Returns when the task has to end. Nothing is lost if this is dropped before.
    pub(crate) async fn requested(&mut self) {
        // An error is a chain that has gone.
        drop(self.0.changed().await);
    }
}

impl Tasks {
    /// No tasks yet.
    pub(crate) fn new() -> Self {
        Self { all: JoinSet::new(), is_stopped: watch::Sender::new(false) }
    }

    /// Starts a task, which is aborted at the end.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = Result<(), ChainError>> + Send + 'static) {
        self.all.spawn(task);
    }

    /// For the task that settles, which is not aborted.
    pub(crate) fn stop_settling(&self) -> StopSettling {
        StopSettling(self.is_stopped.subscribe())
    }

    /// Returns when the first task ends, which is an error.
    pub(crate) async fn first_end(&mut self) -> Result<(), ChainError> {
        match self.all.join_next().await {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(ChainError::Task(error)),
            Some(Ok(Ok(()))) | None => Err(ChainError::Ended),
        }
    }

    /// Ends all tasks. The one that settles finishes its batch first: an insert in flight would create the database again after it
    /// was deleted. The deadlines of a batch limit that.
    pub(crate) async fn shutdown(&mut self) {
        self.is_stopped.send_replace(true);
        self.is_stopped.closed().await;
        self.all.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn batch_is_finished_before_the_end() {
        let mut tasks = Tasks::new();
        let (store, stored) = oneshot::channel::<()>();
        let is_finished = Arc::new(AtomicBool::new(false));
        let (mut stop, finished) = (tasks.stop_settling(), Arc::clone(&is_finished));
        tasks.spawn(async move {
            stop.requested().await;
            let is_stored = stored.await.is_ok();
            finished.store(is_stored, Ordering::SeqCst);
            drop(stop);
            Ok(())
        });
        tasks.spawn(pending());
        let answer = async {
            tokio::task::yield_now().await;
            store.send(()).expect("the batch is not aborted");
        };
        tokio::join!(tasks.shutdown(), answer);
        assert!(is_finished.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn tasks_end_where_nothing_settles() {
        let mut tasks = Tasks::new();
        tasks.spawn(pending());
        tasks.shutdown().await;
        assert!(matches!(tasks.first_end().await, Err(ChainError::Ended)), "none is left");
    }
}
