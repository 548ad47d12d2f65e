//! The wish that a process end: asked for by a signal, by a test, or by a part that cannot go on.

use tokio_util::sync::CancellationToken;

/// One per process; clones are the same wish. Asking twice is the same as asking once.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Waits until the end is asked for.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The same wish as a token, for what starts up slowly and must give up when the process is told to end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}
