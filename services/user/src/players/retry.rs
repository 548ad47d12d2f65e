//! A write that lost a race, or of which nobody knows whether it happened, is tried again: a few times, after growing pauses,
//! within a deadline. A store that does not answer is asked less and less, and its caller is not kept.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use crate::error::UserError;

/// How long, and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Tries, the first one included.
    pub(super) attempts_max: usize,
    /// The first pause; each further one is twice as long, and longer by chance.
    pub(super) pause_min: Duration,
    /// The longest one.
    pub(super) pause_max: Duration,
    /// For everything, the tries themselves included.
    pub(super) deadline: Duration,
}

/// Of a change that a player waits for.
pub(super) const CHANGE: Patience = Patience {
    attempts_max: 8,
    pause_min: Duration::from_millis(10),
    pause_max: Duration::from_millis(500),
    deadline: Duration::from_secs(4),
};

impl Patience {
    /// Runs `attempt` until it has an outcome. [`UserError::Busy`] and a silent store may pass; nothing else may.
    ///
    /// # Errors
    /// [`UserError::Busy`] when patience is at its end, else what went wrong for good.
    pub(super) async fn until_decided<T, F, Fut>(self, attempt: F) -> Result<T, UserError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, UserError>>,
    {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.pause_min)
            .with_max_delay(self.pause_max)
            .with_factor(2.0)
            .with_max_times(self.attempts_max.saturating_sub(1))
            .with_jitter();
        let tried = tokio::time::timeout(self.deadline, attempt.retry(pauses).when(may_pass)).await;
        match tried {
            Ok(Err(error)) if may_pass(&error) => Err(UserError::Busy),
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(UserError::Busy),
        }
    }
}

fn may_pass(error: &UserError) -> bool {
    matches!(error, UserError::Busy | UserError::Store(store::StoreError::Transient { .. }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const PATIENCE: Patience = Patience {
        attempts_max: 4,
        pause_min: Duration::from_millis(20),
        pause_max: Duration::from_millis(40),
        deadline: Duration::from_secs(600),
    };

    fn silent() -> UserError {
        store::StoreError::Transient { collection: "players", reason: "no answer".to_owned() }.into()
    }

    #[tokio::test]
    async fn a_silent_store_is_asked_a_few_times_with_pauses() {
        let (asked, begun) = (AtomicUsize::new(0), Instant::now());
        let attempt = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(silent())
        };
        assert!(matches!(PATIENCE.until_decided(attempt).await, Err(UserError::Busy)));
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        assert!(begun.elapsed() >= Duration::from_millis(20 + 40 + 40), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_store_that_hangs_keeps_nobody() {
        let hangs = std::future::pending::<Result<(), UserError>>;
        let patience = Patience { deadline: Duration::from_millis(50), ..PATIENCE };
        let decided = tokio::time::timeout(Duration::from_secs(60), patience.until_decided(hangs)).await;
        assert!(matches!(decided, Ok(Err(UserError::Busy))), "{decided:?}");
    }

    #[tokio::test]
    async fn what_cannot_pass_is_not_tried_again() {
        let asked = AtomicUsize::new(0);
        let attempt = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(UserError::NoSuchPlayer)
        };
        assert!(matches!(PATIENCE.until_decided(attempt).await, Err(UserError::NoSuchPlayer)));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
