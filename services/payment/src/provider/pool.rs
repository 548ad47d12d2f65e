//! The bounded pool that asks the provider.

use std::sync::Arc;
use std::time::Duration;

use bus::Producer;
use contracts::Classify as _;
use serde::{Deserialize, Serialize};
use store::StoreError;
use telemetry::spans::{self, Status};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::client::{Answer, CardProvider, Unknown};
use super::intents::{Intent, Intents};
use super::report;

/// How often one payment is asked about before it is put back.
const ROUNDS_MAX: u32 = 3;
/// The first pause between two rounds; it doubles.
const PAUSE_MS: u64 = 100;
/// Most payments that the sweeper takes up in one round.
const DUE_MAX: u32 = 64;

/// How much of the provider there may be at a time.
#[derive(Debug, Clone, Serialize, Deserialize, validator::Validate)]
pub struct Config {
    /// Questions under way at a time.
    #[validate(range(min = 1, max = 256))]
    pub concurrent_max: usize,
    /// How long one question may take.
    #[validate(range(min = 10, max = 60_000))]
    pub timeout_ms: u64,
    /// New payments that wait for the pool; more are left to the sweeper.
    #[validate(range(min = 1, max = 65_536))]
    pub waiting_max: usize,
    /// For how long a payment in hand is left to its holder. Longer than all rounds together.
    #[validate(range(min = 100, max = 600_000))]
    pub lease_ms: u64,
    /// How often the sweeper looks for payments left hanging.
    #[validate(range(min = 10, max = 600_000))]
    pub sweep_interval_ms: u64,
}

/// Everything that a question needs.
#[derive(Clone)]
pub struct Pool {
    /// The provider.
    pub provider: CardProvider,
    /// The list.
    pub intents: Intents,
    /// Where answers go.
    pub producer: Producer,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Pool {
    /// Asks for what comes through `door` and for what is due, until told to end; then waits for what is under way.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(
        self,
        config: Config,
        mut door: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let slots = Arc::new(Semaphore::new(config.concurrent_max));
        let mut sweep = tokio::time::interval(Duration::from_millis(config.sweep_interval_ms));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(payment_id) = door.recv() => self.start(&slots, payment_id, true).await,
                _ = sweep.tick() => {
                    for payment_id in self.due().await {
                        if stop.is_cancelled() {
                            break;
                        }
                        self.start(&slots, payment_id, false).await;
                    }
                }
            }
        }
        // All slots free: nothing is under way any more.
        let all = u32::try_from(config.concurrent_max).unwrap_or(u32::MAX);
        let _idle = slots.acquire_many(all).await;
        Ok(())
    }

    async fn due(&self) -> Vec<String> {
        match self.intents.due(DUE_MAX).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = %error, "payments left hanging could not be listed, trying again");
                Vec::new()
            }
        }
    }

    /// Waits for a free slot, so that no more is under way than the configuration says.
    async fn start(&self, slots: &Arc<Semaphore>, payment_id: String, fresh: bool) {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return };
        let pool = self.clone();
        telemetry::spawn(async move {
            if let Err(error) = pool.settle(&payment_id, fresh).await {
                tracing::warn!(payment.id = payment_id, error = %error, "payment not taken in hand, trying again");
            }
            drop(slot);
        });
    }

    /// Takes one payment in hand and, if the provider tells, reports it.
    async fn settle(&self, payment_id: &str, fresh: bool) -> Result<(), StoreError> {
        let Some(intent) = self.intents.claim(payment_id, fresh).await? else { return Ok(()) };
        let span = spans::continued("payment.provider", &intent.trace.context());
        let settled = self.ask_and_report(&intent).instrument(span.clone()).await;
        match &settled {
            Ok(true) => spans::set_ok(&span),
            Ok(false) => spans::set_error(&span, Status::Unavailable),
            Err(_) => spans::set_error(&span, Status::InternalError),
        }
        settled.map(drop)
    }

    async fn ask_and_report(&self, intent: &Intent) -> Result<bool, StoreError> {
        let answer = match self.rounds(intent).await {
            Ok(answer) => answer,
            Err(unknown) => {
                tracing::warn!(
                    payment.id = intent.payment_id, attempts = intent.attempts, error = %unknown,
                    "the provider's outcome is unknown, asking again later",
                );
                self.intents.postpone(intent).await?;
                return Ok(false);
            }
        };
        if let Err(error) = report::publish(&self.producer, intent, &answer).await {
            tracing::warn!(
                payment.id = intent.payment_id, error = %error, error.class = error.class().as_str(),
                "the provider's answer was not published, trying again",
            );
            self.intents.postpone(intent).await?;
            return Ok(false);
        }
        self.intents.reported(&intent.payment_id, &answer).await?;
        Ok(true)
    }

    /// Asks; when the outcome is unknown, asks what became of it; when that is unknown too, asks again, under the same key.
    async fn rounds(&self, intent: &Intent) -> Result<Answer, Unknown> {
        let mut pause_ms = PAUSE_MS;
        let mut round = 1;
        loop {
            match self.provider.ask(intent).await {
                Ok(answer) => return Ok(answer),
                Err(unknown) => {
                    tracing::debug!(payment.id = intent.payment_id, error = %unknown, round, "no outcome")
                }
            }
            let unknown = match self.provider.look_up(intent).await {
                Ok(answer) => return Ok(answer),
                Err(unknown) => unknown,
            };
            if round == ROUNDS_MAX {
                return Err(unknown);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = pause_ms.saturating_mul(2);
            round = round.saturating_add(1);
        }
    }
}
