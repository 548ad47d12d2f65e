//! Work that changes the platform while it runs, such as the faults of a drill, and that ends before the parts are shut down.

use std::time::Duration;

use tokio::sync::{oneshot, watch};

/// Time in which the work has to undo its changes. The parts are shut down then, whatever is left.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// The supervisor's end: asks the work to end, and waits for it.
#[derive(Debug)]
pub struct Companion {
    must_end: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// The work's end. Dropping it reports that the work has ended.
#[derive(Debug)]
pub struct CompanionWork {
    must_end: watch::Receiver<bool>,
    _ended: oneshot::Sender<()>,
}

impl Companion {
    /// Both ends.
    #[must_use]
    pub fn pair() -> (Self, CompanionWork) {
        let (must_end, asked) = watch::channel(false);
        let (reports, ended) = oneshot::channel();
        (Self { must_end, ended }, CompanionWork { must_end: asked, _ended: reports })
    }

    /// Asks the work to end, and waits until it has, at most for a fixed time.
    pub(super) async fn end(self) {
        self.must_end.send_replace(true);
        if tokio::time::timeout(END_DEADLINE, self.ended).await.is_err() {
            tracing::error!(
                "the work beside the parts has not undone its changes within {} s; the next start continues",
                END_DEADLINE.as_secs()
            );
        }
    }
}

impl CompanionWork {
    /// Waits until the work has to end. A supervisor that is gone asks for it, too.
    pub async fn must_end(&mut self) {
        drop(self.must_end.wait_for(|must_end| *must_end).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn supervisor_waits_for_the_end_of_the_work() {
        let (companion, mut work) = Companion::pair();
        let (done, mut is_done) = oneshot::channel();
        let working = async move {
            work.must_end().await;
            done.send(()).unwrap();
            drop(work);
        };
        let ((), ()) = tokio::join!(companion.end(), working);
        assert_eq!(is_done.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn ended_work_is_not_waited_for() {
        let (companion, work) = Companion::pair();
        drop(work);
        companion.end().await;
    }

    #[tokio::test]
    async fn work_ends_with_its_supervisor() {
        let (companion, mut work) = Companion::pair();
        drop(companion);
        work.must_end().await;
    }
}
