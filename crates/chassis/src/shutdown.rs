//! Request to shut down a process, triggered by a signal, by a test, or by a part that cannot continue.

use tokio_util::sync::CancellationToken;

/// Shutdown request of a process. Clones share it. Triggering it again has no effect.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not been requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the shutdown.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Waits until the shutdown is requested.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Returns `true` if the shutdown was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }
}
