//! Sweeper that repeats the commands of bets that payment has not answered.
//!
//! It recovers bets whose acknowledged command was lost, for example by retention or with a discarded dead letter. Normally it
//! finds nothing and costs one query on an empty partial index.
//!
//! It guarantees that repetitions never add to an overload. A command that payment has not read is not lost, and neither is an
//! answer that game has not read. So nothing is repeated while either has unread records that are older than half of the first wait.
//! (A command is published some time after its bet was decided. When the bet is due, the unread command is younger than the wait.)
//! Otherwise it repeats a few commands per second, and each bet a limited number of times. After the last repetition it reports
//! the bet once. A late answer still settles the bet. If bets are held back for minutes, that is reported once.

use std::time::Duration;

use async_trait::async_trait;
use bus::lag::{BacklogReader, Gate};
use bus::{ClientError, Producer};
use contracts::Event;
use contracts::class::{Classify as _, ErrorClass};
use contracts::topics::{Group, Topic};
use store::time::later;
use telemetry::check_in::Job;
use telemetry::spans;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::bets::Bets;
use crate::config::SweeperConfig;
use crate::document::BetDocument;
use crate::error::GameError;
use crate::{events, publisher};

/// Limit of the doublings, so that the shift cannot overflow. 2^20 times the shortest first wait exceeds any configurable
/// maximum.
const DOUBLINGS_MAX: u32 = 20;

/// Divisor of the first wait. Nothing is repeated while a command or an answer is unread for that part of it.
const LAG_OF_WAIT: u64 = 2;

/// Unread records of a consumer group.
#[async_trait]
pub trait Backlog: Send + Sync + 'static {
    /// Returns true if records older than `age` are unread, or if their age is unknown.
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError>;
}

#[async_trait]
impl Backlog for BacklogReader {
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError> {
        Ok(self.read().await?.is_older_than(age))
    }
}

/// A list of backlogs is older than `age` if one of them is.
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

/// Returns the backlogs that may hold the answer to a bet: payment's unread commands and game's unread payment events.
///
/// # Errors
/// When the settings are invalid.
pub fn backlogs(kafka: &bus::Config) -> Result<[BacklogReader; 2], ClientError> {
    Ok([
        BacklogReader::new(kafka, Group::Payment, &[Topic::PaymentsCommands])?,
        BacklogReader::new(kafka, Group::Game, &[Topic::PaymentsEvents])?,
    ])
}

/// Sweeper of one process. Several processes may sweep, because a bet is claimed before its command is repeated.
pub struct Sweeper<B> {
    bets: Bets,
    producer: Producer,
    backlog: B,
    config: SweeperConfig,
    gate: Gate,
}

/// Payment never answered for a bet. The bet stays decided, and an operator has to find out what happened to its command.
#[derive(Debug, thiserror::Error)]
#[error("payment has not answered for a bet after {repeats} repetitions of its command; no more follow")]
struct Unanswered {
    repeats: i32,
}

/// Repetitions have been held back for so long that the cause will not pass by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "repetitions for undecided bets were held back for {held_back_s} s: payment or game has old unread records, or their lag is unknown"
)]
struct HeldBack {
    held_back_s: u64,
}

impl<B: Backlog> Sweeper<B> {
    /// Creates a sweeper that checks `backlog` before it repeats a command.
    #[must_use]
    pub fn new(bets: Bets, producer: Producer, backlog: B, config: SweeperConfig) -> Self {
        Self { bets, producer, backlog, config, gate: Gate::default() }
    }

    /// Returns the sweeper with another time after which it reports held-back bets.
    #[must_use]
    pub fn reporting_after(self, held_back: Duration) -> Self {
        Self { gate: Gate::reporting_after(held_back), ..self }
    }

    /// Sweeps at every interval until `stop` is cancelled. A failed sweep is logged and does not end the loop.
    ///
    /// # Errors
    /// None: the result is always `Ok`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GameError> {
        let mut job = Job::new("game-sweeper", Duration::from_millis(self.config.interval_ms));
        let mut interval = ticks(self.config.interval_ms);
        let mut pace = ticks(1_000 / u64::from(self.config.per_second_max.max(1)));
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = interval.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                swept = job.run(self.sweep(&mut pace)) => if let Err(error) = swept {
                    tracing::warn!(error = %error, "a sweep for undecided bets failed, retrying at the next interval");
                },
            }
        }
    }

    async fn sweep(&mut self, pace: &mut Interval) -> Result<(), GameError> {
        self.bets.sync_clock().await?;
        let due = self.bets.due(self.bets.now(), self.batch_max()).await?;
        if due.is_empty() {
            self.report_if_held_back(false);
            return Ok(());
        }
        let age = Duration::from_millis(self.config.first_after_ms / LAG_OF_WAIT);
        let is_behind = self.backlog.is_older_than(age).await;
        self.report_if_held_back(!matches!(is_behind, Ok(false)));
        if is_behind? {
            tracing::debug!("payment or game has old unread records, so no command is repeated");
            return Ok(());
        }
        for bet in due {
            // An unreadable bet publishes nothing, but costs a write.
            let events = events::of_state(&bet, bet.state);
            for _ in 0..events.as_ref().map_or(1, Vec::len).max(1) {
                pace.tick().await;
            }
            self.process(&bet, events).await?;
        }
        Ok(())
    }

    fn report_if_held_back(&mut self, is_closed: bool) {
        if let Some(held_back) = self.gate.note(is_closed) {
            telemetry::report(&HeldBack { held_back_s: held_back.as_secs() }, &[]);
        }
    }

    /// Repeats the command of one due bet. An error that concerns only this bet is reported and does not end the sweep.
    async fn process(
        &self,
        bet: &BetDocument,
        events: Result<Vec<Event>, GameError>,
    ) -> Result<(), GameError> {
        let span = spans::continued("sweep undecided bet", &bet.trace.context());
        let repeated = async {
            match self.repeat_command(bet, events).await {
                Err(error) if error.class() != ErrorClass::Transient => {
                    if self.bets.give_up(bet, self.bets.now()).await? {
                        telemetry::report(&error, &[("bet.id", &bet.id)]);
                    }
                    Ok(())
                }
                result => result,
            }
        };
        let repeated = repeated.instrument(span.clone()).await;
        match &repeated {
            Ok(()) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, spans::Status::Unavailable),
        }
        repeated
    }

    /// Claims one bet and publishes its command again with the same id and bytes, and what precedes it. `events` are those of
    /// [`events::of_state`]. Payment answers with what it has stored.
    async fn repeat_command(
        &self,
        bet: &BetDocument,
        events: Result<Vec<Event>, GameError>,
    ) -> Result<(), GameError> {
        let events = events?;
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
                "payment has not answered for a bet, repeating the command"
            );
            publisher::publish_all(&self.producer, &events).await?;
        }
        Ok(())
    }

    fn batch_max(&self) -> u32 {
        let of_interval =
            u64::from(self.config.per_second_max).saturating_mul(self.config.interval_ms) / 1_000;
        u32::try_from(of_interval).unwrap_or(u32::MAX).max(1)
    }

    fn wait_ms(&self, sweeps: i32) -> u64 {
        let doublings = u32::try_from(sweeps).unwrap_or(0).saturating_add(1).min(DOUBLINGS_MAX);
        self.config.first_after_ms.saturating_mul(1 << doublings).min(self.config.interval_ms_max)
    }
}

fn ticks(every_ms: u64) -> Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(every_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
