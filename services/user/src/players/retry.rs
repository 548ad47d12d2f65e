//! Retries a write that lost a race or has an unknown result: a few times, with growing pauses, within a deadline. A store that
//! does not answer is queried less and less often, and the caller does not wait for it beyond the deadline.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use crate::error::UserError;

/// Limits of the retries.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryLimits {
    /// Number of attempts, including the first.
    pub(super) attempts_max: usize,
    /// The first pause. Each further one is twice as long, plus a random part.
    pub(super) pause_min: Duration,
    /// The longest pause.
    pub(super) pause_max: Duration,
    /// Time limit for all attempts and pauses.
    pub(super) deadline: Duration,
}

/// Limits for a change that a player waits for.
pub(super) const CHANGE: RetryLimits = RetryLimits {
    attempts_max: 8,
    pause_min: Duration::from_millis(10),
    pause_max: Duration::from_millis(500),
    deadline: Duration::from_secs(4),
};

impl RetryLimits {
    /// Runs `attempt` until it has an outcome. Retries only [`UserError::Busy`] and a transient failure of the store.
    ///
    /// # Errors
    /// [`UserError::Busy`] when the limits are reached, or the first permanent error.
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
        let tried = tokio::time::timeout(self.deadline, attempt.retry(pauses).when(is_retryable)).await;
        match tried {
            Ok(Err(error)) if is_retryable(&error) => Err(UserError::Busy),
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(UserError::Busy),
        }
    }
}

fn is_retryable(error: &UserError) -> bool {
    matches!(error, UserError::Busy | UserError::Store(store::StoreError::Transient { .. }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const LIMITS: RetryLimits = RetryLimits {
        attempts_max: 4,
        pause_min: Duration::from_millis(20),
        pause_max: Duration::from_millis(40),
        deadline: Duration::from_secs(600),
    };

    fn no_answer() -> UserError {
        store::StoreError::Transient { collection: "players", reason: "no answer".to_owned() }.into()
    }

    #[tokio::test]
    async fn failing_store_is_retried_with_pauses() {
        let (attempts, started) = (AtomicUsize::new(0), Instant::now());
        let attempt = || async {
            attempts.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(no_answer())
        };
        assert!(matches!(LIMITS.until_decided(attempt).await, Err(UserError::Busy)));
        assert_eq!(attempts.load(Ordering::SeqCst), 4);
        assert!(started.elapsed() >= Duration::from_millis(20 + 40 + 40), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn hanging_store_ends_at_deadline() {
        let hangs = std::future::pending::<Result<(), UserError>>;
        let limits = RetryLimits { deadline: Duration::from_millis(50), ..LIMITS };
        let decided = tokio::time::timeout(Duration::from_secs(60), limits.until_decided(hangs)).await;
        assert!(matches!(decided, Ok(Err(UserError::Busy))), "{decided:?}");
    }

    #[tokio::test]
    async fn permanent_error_is_not_retried() {
        let attempts = AtomicUsize::new(0);
        let attempt = || async {
            attempts.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(UserError::NoSuchPlayer)
        };
        assert!(matches!(LIMITS.until_decided(attempt).await, Err(UserError::NoSuchPlayer)));
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }
}
