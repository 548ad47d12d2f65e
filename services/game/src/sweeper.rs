//! Asks payment again for bets that it has not answered: the way out when an acknowledged command was lost all the same
//! (retention, a dead letter that was discarded). In peace it finds nothing: one look at a partial index that is empty.

use std::time::Duration;

use bus::Producer;
use store::bson::DateTime;
use telemetry::spans;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::bets::Bets;
use crate::config::SweeperConfig;
use crate::document::BetDocument;
use crate::error::GameError;
use crate::events;

/// Doubling stops here whatever the configured maximum is: 2^20 times any first wait is longer than any maximum.
const DOUBLINGS_MAX: u32 = 20;

/// The sweeper of one process. Several may run: a bet is claimed before it is asked for.
pub(crate) struct Sweeper {
    bets: Bets,
    producer: Producer,
    config: SweeperConfig,
}

impl Sweeper {
    pub(crate) fn new(bets: Bets, producer: Producer, config: SweeperConfig) -> Self {
        Self { bets, producer, config }
    }

    /// Looks at every interval until told to stop. A look that fails is logged; the next one comes anyway.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), GameError> {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.config.interval_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.sweep(DateTime::now()).await {
                tracing::warn!(error = %error, "a sweep for undecided bets failed");
            }
        }
    }

    async fn sweep(&self, now: DateTime) -> Result<(), GameError> {
        for bet in self.bets.due(now, self.config.batch_max).await? {
            let span = spans::continued("sweep undecided bet", &bet.trace.context());
            let asked = self.ask_again(&bet, now).instrument(span.clone()).await;
            match &asked {
                Ok(()) => spans::set_ok(&span),
                Err(_) => spans::set_error(&span, spans::Status::Unavailable),
            }
            asked?;
        }
        Ok(())
    }

    /// Claims one bet and publishes its command again: same id, same bytes; payment answers what it knows.
    async fn ask_again(&self, bet: &BetDocument, now: DateTime) -> Result<(), GameError> {
        let next = now.timestamp_millis().saturating_add(self.wait_ms(bet.sweeps));
        if !self.bets.claim(bet, DateTime::from_millis(next)).await? {
            return Ok(());
        }
        tracing::warn!(
            bet.id = bet.id,
            sweeps = bet.sweeps,
            "payment has not answered for a bet: asking again"
        );
        self.producer.publish(&events::apply_wager(bet)?).await?;
        Ok(())
    }

    fn wait_ms(&self, sweeps: i32) -> i64 {
        let doublings = u32::try_from(sweeps).unwrap_or(0).saturating_add(1).min(DOUBLINGS_MAX);
        let wait_ms =
            self.config.first_after_ms.saturating_mul(1 << doublings).min(self.config.interval_ms_max);
        i64::try_from(wait_ms).unwrap_or(i64::MAX)
    }
}
