//! The bounded pool that asks the provider.
//!
//! New payments and those left hanging have slots of their own, so that neither waits behind the other. Everything is bounded:
//! questions under way, attempts, repetitions of a report. What comes to an end without an outcome is reported, once.

mod slots;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Producer;
use bus::lag::BacklogReader;
use contracts::{Classify as _, EventId};
use serde::{Deserialize, Serialize};
use telemetry::spans::{self, Status};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::client::{Answer, CardProvider, Unknown};
use super::intent::{Intent, State};
use super::intents::{Intents, Recorded};
use super::report;
use crate::ledger::{Ledger, LedgerError, Payments as _};
use slots::{Slot, Slots};

/// How often one payment is asked about before it is put back.
const ROUNDS_MAX: u32 = 3;
/// The first pause between two rounds; it doubles.
const PAUSE_MS: u64 = 100;
/// Most payments that the sweeper takes up in one round.
const DUE_MAX: u32 = 64;

/// How much of the provider there may be at a time.
#[derive(Debug, Clone, Serialize, Deserialize, validator::Validate)]
pub struct Config {
    /// Questions under way at a time; at most half of them, and at least a quarter, for payments that were left hanging. One
    /// alone would have to serve both, and new payments would take it every time.
    #[validate(range(min = 2, max = 256))]
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
    /// After so many attempts without an outcome a payment is parked. Attempts that did not reach the provider end nothing.
    #[validate(range(min = 1, max = 1_000_000))]
    pub attempts_max: i64,
    /// A payment that is open for longer is reported, once.
    #[validate(range(min = 100, max = 86_400_000))]
    pub escalate_after_ms: u64,
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
    /// What has ended already.
    pub ledger: Ledger,
    /// What the ledger has not read yet: a report in there is not repeated.
    pub backlog: Arc<BacklogReader>,
    /// How much of it.
    pub config: Config,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// A payment has no outcome, and nobody asks for one by itself any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "a payment was parked: no outcome after {attempts} attempts; report it by hand, or have the provider tell: {unknown}"
)]
struct Parked {
    attempts: i64,
    unknown: Unknown,
}

/// What was found out about a payment.
struct Word {
    answer: Answer,
    /// It counts only while nobody else has taken the payment in hand.
    only_attempt: Option<i64>,
}

impl From<Answer> for Word {
    fn from(answer: Answer) -> Self {
        Self { answer, only_attempt: None }
    }
}

impl Pool {
    /// Asks for what comes through `door` and for what is due, until told to end; then waits for what is under way.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(
        self,
        mut door: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) -> Result<(), LedgerError> {
        let slots = Slots::new(self.config.concurrent_max);
        let fresh = async {
            loop {
                let payment_id =
                    tokio::select! { () = stop.cancelled() => break, Some(id) = door.recv() => id };
                tokio::select! {
                    () = stop.cancelled() => break,
                    slot = slots.fresh() => self.start(slot, payment_id, true),
                }
            }
        };
        let swept = async {
            let mut sweep = tokio::time::interval(Duration::from_millis(self.config.sweep_interval_ms));
            sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut gate = bus::lag::Gate::default();
            loop {
                tokio::select! { () = stop.cancelled() => break, _ = sweep.tick() => {} }
                self.sweep(&slots).await;
                self.upkeep(&mut gate).await;
            }
        };
        tokio::join!(fresh, swept);
        slots.all_free().await;
        Ok(())
    }

    /// Takes up what is due, as far as there are slots for it now; the next round comes soon.
    async fn sweep(&self, slots: &Slots) {
        if !slots.has_swept() {
            return;
        }
        match self.intents.due(State::Requested, DUE_MAX).await {
            Ok(due) => {
                for intent in due {
                    let Some(slot) = slots.swept() else { break };
                    self.start(slot, intent.payment_id, false);
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "payments left hanging could not be listed, trying again");
            }
        }
    }

    fn start(&self, slot: Slot, payment_id: String, fresh: bool) {
        let pool = self.clone();
        telemetry::spawn(async move {
            if let Err(error) = pool.settle(&payment_id, fresh).await {
                tracing::warn!(payment.id = payment_id, error = %error, "payment not taken in hand, trying again");
            }
            drop(slot);
        });
    }

    /// Takes one payment in hand and, if the provider tells, reports it.
    async fn settle(&self, payment_id: &str, fresh: bool) -> Result<(), LedgerError> {
        let held = Instant::now();
        let Some(intent) = self.intents.claim(payment_id, fresh).await? else { return Ok(()) };
        if self.has_ended(payment_id).await? {
            return Ok(());
        }
        let span = spans::continued("payment.provider", &intent.trace.context());
        let settled = self.ask_and_report(&intent, held).instrument(span.clone()).await;
        match &settled {
            Ok(true) => spans::set_ok(&span),
            Ok(false) => spans::set_error(&span, Status::Unavailable),
            Err(_) => spans::set_error(&span, Status::InternalError),
        }
        settled.map(drop)
    }

    /// Whether the ledger has settled it, by whatever path; then the list learns of it.
    async fn has_ended(&self, payment_id: &str) -> Result<bool, LedgerError> {
        let Ok(id) = payment_id.parse::<EventId>() else { return Ok(false) };
        let Some(entry) = self.ledger.settlement(&id).await? else { return Ok(false) };
        self.intents.end(payment_id, entry.captured()).await?;
        Ok(true)
    }

    async fn ask_and_report(&self, intent: &Intent, held: Instant) -> Result<bool, LedgerError> {
        let word = match self.rounds(intent, held).await {
            Ok(word) => word,
            Err(unknown) => {
                self.put_back(intent, unknown).await?;
                return Ok(false);
            }
        };
        match self.intents.record(&intent.payment_id, &word.answer, word.only_attempt).await? {
            Recorded::Word(intent) => self.report(&intent).await,
            Recorded::Settled => Ok(true),
            Recorded::Overtaken => Ok(false),
            Recorded::Contradicted(contradiction) => {
                contradiction.report(&intent.payment_id);
                Ok(false)
            }
        }
    }

    /// Publishes the recorded word; what cannot be published ever is parked.
    async fn report(&self, intent: &Intent) -> Result<bool, LedgerError> {
        let Err(error) = report::publish(&self.producer, intent).await else {
            self.intents.reported(intent).await?;
            return Ok(true);
        };
        if error.class() == contracts::ErrorClass::Transient {
            tracing::warn!(
                payment.id = intent.payment_id, error = %error,
                "the provider's answer was not published, trying again",
            );
        } else if self.intents.park(&intent.payment_id).await? {
            telemetry::report(&error, &[("payment.id", &intent.payment_id)]);
        }
        Ok(false)
    }

    /// No outcome: later again, or, after so many attempts, nobody any more.
    async fn put_back(&self, intent: &Intent, unknown: Unknown) -> Result<(), LedgerError> {
        let over = intent.attempts >= self.config.attempts_max && !unknown.is_without_effect();
        if over || matches!(unknown, Unknown::OtherAmount) {
            if self.intents.park(&intent.payment_id).await? {
                let parked = Parked { attempts: intent.attempts, unknown };
                telemetry::report(&parked, &[("payment.id", &intent.payment_id)]);
            }
            return Ok(());
        }
        tracing::warn!(
            payment.id = intent.payment_id, attempts = intent.attempts, error = %unknown,
            "the provider's outcome is unknown, asking again later",
        );
        self.intents.postpone(intent).await?;
        Ok(())
    }

    /// Asks; when the outcome is unknown, asks what became of it; when that is unknown too, asks again, under the same key.
    async fn rounds(&self, intent: &Intent, held: Instant) -> Result<Word, Unknown> {
        let mut pause_ms = PAUSE_MS;
        let mut round = 1;
        loop {
            let unknown = match self.round(intent, round, held).await {
                Ok(word) => return Ok(word),
                Err(unknown @ (Unknown::OtherAmount | Unknown::LeaseOver)) => return Err(unknown),
                Err(unknown) => unknown,
            };
            tracing::debug!(payment.id = intent.payment_id, error = %unknown, round, "no outcome");
            if round == ROUNDS_MAX {
                return Err(unknown);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = pause_ms.saturating_mul(2);
            round = round.saturating_add(1);
        }
    }

    async fn round(&self, intent: &Intent, round: u32, held: Instant) -> Result<Word, Unknown> {
        self.still_held(held)?;
        let asked = if intent.void_wanted {
            self.provider.void(intent).await
        } else {
            self.provider.ask(intent).await
        };
        let unknown = match asked {
            Ok(answer) => return Ok(answer.into()),
            // The first request ever, and it was refused: no money has moved, and none will.
            Err(Unknown::Refused(_)) if round == 1 && intent.attempts == 1 && !intent.void_wanted => {
                return Ok(Word { answer: Answer::new(false, ""), only_attempt: Some(1) });
            }
            Err(unknown @ Unknown::OtherAmount) => return Err(unknown),
            // Nobody is there to look it up either.
            Err(unknown) if unknown.is_without_effect() => return Err(unknown),
            Err(unknown) => unknown,
        };
        self.still_held(held)?;
        match self.provider.look_up(intent).await {
            Ok(answer) => Ok(answer.into()),
            // It wants none of it, and an earlier request may still arrive: that one must not move money.
            Err(Unknown::NotFound) if matches!(unknown, Unknown::Refused(_)) => {
                self.still_held(held)?;
                Ok(self.provider.void(intent).await?.into())
            }
            Err(unknown) => Err(unknown),
        }
    }

    /// No question is begun that could end after the lease: by then somebody else may be asking.
    fn still_held(&self, held: Instant) -> Result<(), Unknown> {
        let ends = held.elapsed().saturating_add(Duration::from_millis(self.config.timeout_ms));
        if ends >= Duration::from_millis(self.config.lease_ms) { Err(Unknown::LeaseOver) } else { Ok(()) }
    }
}
