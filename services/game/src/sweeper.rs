//! Asks payment again for bets that it has not answered.
//!
//! It is the way out when an acknowledged command was lost all the same (retention, a dead letter that was discarded). In peace
//! it finds nothing: one look at a partial index that is empty.
//!
//! Keeps "repetition never feeds an overload": a command that payment has yet to read is not lost, and neither is an answer that
//! game has yet to read, so nothing is repeated while either has unread records that are older than the first wait. Then it
//! repeats a few a second, and each bet a few times; after that the bet is reported once and left as it is. A late answer still
//! settles it. What is held back for minutes is reported once.

use std::time::Duration;

use async_trait::async_trait;
use bus::lag::{BacklogReader, Gate};
use bus::{ClientError, Producer};
use contracts::class::{Classify as _, ErrorClass};
use contracts::topics::{Group, Topic};
use store::bson::DateTime;
use telemetry::spans;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::bets::Bets;
use crate::config::SweeperConfig;
use crate::document::BetDocument;
use crate::error::GameError;
use crate::events;

/// Doubling stops here whatever the configured maximum is: 2^20 times any first wait is longer than any maximum.
const DOUBLINGS_MAX: u32 = 20;

/// What somebody has yet to read.
#[async_trait]
pub trait Backlog: Send + Sync + 'static {
    /// Whether there are unread records that are older than `age`. Nobody knows: yes.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError>;
}

#[async_trait]
impl Backlog for BacklogReader {
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError> {
        Ok(self.read().await?.is_older_than(age))
    }
}

/// Of several, one that is behind is enough.
#[async_trait]
impl<B: Backlog, const N: usize> Backlog for [B; N] {
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError> {
        for backlog in self {
            if backlog.is_older_than(age).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where the answer to a bet may be waiting: payment's commands, and the events of payment that game has yet to read.
///
/// # Errors
/// When the settings make no sense.
pub fn backlogs(kafka: &bus::Config) -> Result<[BacklogReader; 2], ClientError> {
    Ok([
        BacklogReader::new(kafka, Group::Payment, &[Topic::PaymentsCommands])?,
        BacklogReader::new(kafka, Group::Game, &[Topic::PaymentsEvents])?,
    ])
}

/// The sweeper of one process. Several may run: a bet is claimed before it is asked for.
pub struct Sweeper<B> {
    bets: Bets,
    producer: Producer,
    backlog: B,
    config: SweeperConfig,
    gate: Gate,
}

/// A bet that payment never answered for. It stays decided; somebody has to look what became of its command.
#[derive(Debug, thiserror::Error)]
#[error("payment has not answered for a bet after {repeats} repetitions; it is not asked again")]
struct Unanswered {
    repeats: i32,
}

/// Nothing is asked again any more, and that does not pass by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "undecided bets are due and were held back for {held_back_s} s: payment or game has old records to read, or their lag is not known"
)]
struct HeldBack {
    held_back_s: u64,
}

impl<B: Backlog> Sweeper<B> {
    /// A sweeper over the store of bets, which looks at `backlog` first.
    #[must_use]
    pub fn new(bets: Bets, producer: Producer, backlog: B, config: SweeperConfig) -> Self {
        Self { bets, producer, backlog, config, gate: Gate::default() }
    }

    /// The same, but what is held back is reported after so long.
    #[must_use]
    pub fn telling_after(self, held_back: Duration) -> Self {
        Self { gate: Gate::telling_after(held_back), ..self }
    }

    /// Looks at every interval until told to stop. A look that fails is logged; the next one comes anyway.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GameError> {
        let mut looks = ticks(self.config.interval_ms);
        let mut pace = ticks(1_000 / u64::from(self.config.per_second_max.max(1)));
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = looks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                swept = self.sweep(&mut pace) => if let Err(error) = swept {
                    tracing::warn!(error = %error, "a sweep for undecided bets failed");
                },
            }
        }
    }

    async fn sweep(&mut self, pace: &mut Interval) -> Result<(), GameError> {
        self.bets.learn_time().await?;
        let due = self.bets.due(self.bets.now(), self.batch_max()).await?;
        if due.is_empty() {
            self.report_if_held_back(false);
            return Ok(());
        }
        let is_behind = self.backlog.is_older_than(Duration::from_millis(self.config.first_after_ms)).await;
        self.report_if_held_back(!matches!(is_behind, Ok(false)));
        if is_behind? {
            tracing::debug!("payment or game has yet to read older records: nothing is asked again");
            return Ok(());
        }
        for bet in due {
            pace.tick().await;
            self.see_to(&bet).await?;
        }
        Ok(())
    }

    fn report_if_held_back(&mut self, is_closed: bool) {
        if let Some(held_back) = self.gate.note(is_closed) {
            telemetry::report(&HeldBack { held_back_s: held_back.as_secs() }, &[]);
        }
    }

    /// One due bet. What is wrong with this bet alone is reported and does not end the look.
    async fn see_to(&self, bet: &BetDocument) -> Result<(), GameError> {
        let span = spans::continued("sweep undecided bet", &bet.trace.context());
        let seen_to = async {
            match self.ask_again(bet).await {
                Err(error) if error.class() != ErrorClass::Transient => {
                    if self.bets.give_up(bet, self.bets.now()).await? {
                        telemetry::report(&error, &[("bet.id", &bet.id)]);
                    }
                    Ok(())
                }
                asked => asked,
            }
        };
        let seen_to = seen_to.instrument(span.clone()).await;
        match &seen_to {
            Ok(()) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, spans::Status::Unavailable),
        }
        seen_to
    }

    /// Claims one bet and publishes its command again: same id, same bytes; payment answers what it knows.
    async fn ask_again(&self, bet: &BetDocument) -> Result<(), GameError> {
        let command = events::apply_wager(bet)?;
        let now = self.bets.now();
        if bet.sweeps >= self.config.repeats_max {
            if self.bets.give_up(bet, now).await? {
                telemetry::report(&Unanswered { repeats: bet.sweeps }, &[("bet.id", &bet.id)]);
            }
            return Ok(());
        }
        if self.bets.claim(bet, later(now, self.wait_ms(bet.sweeps))).await? {
            tracing::warn!(
                bet.id = bet.id,
                sweeps = bet.sweeps,
                "payment has not answered for a bet: asking again"
            );
            self.producer.publish(&command).await?;
        }
        Ok(())
    }

    fn batch_max(&self) -> u32 {
        let of_interval =
            u64::from(self.config.per_second_max).saturating_mul(self.config.interval_ms) / 1_000;
        u32::try_from(of_interval).unwrap_or(u32::MAX).max(1)
    }

    fn wait_ms(&self, sweeps: i32) -> i64 {
        let doublings = u32::try_from(sweeps).unwrap_or(0).saturating_add(1).min(DOUBLINGS_MAX);
        let wait_ms =
            self.config.first_after_ms.saturating_mul(1 << doublings).min(self.config.interval_ms_max);
        i64::try_from(wait_ms).unwrap_or(i64::MAX)
    }
}

fn ticks(every_ms: u64) -> Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(every_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn later(now: DateTime, wait_ms: i64) -> DateTime {
    DateTime::from_millis(now.timestamp_millis().saturating_add(wait_ms))
}
