//! Bounded pool that sends requests to the provider.
//!
//! New payments and due ones have separate slots, so neither kind waits behind the other. Requests in flight, attempts and
//! repeated reports are all bounded. A payment that is given up without an outcome is reported once.

mod random_failure;
mod slots;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Producer;
use bus::lag::BacklogReader;
use contracts::{Classify as _, EventId};
use faults::Faults;
use telemetry::check_in::Job;
use telemetry::spans::{self, Status};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::client::{Answer, CardProvider, Unknown};
use super::intent::{Intent, State};
use super::intents::{Intents, Recorded};
use super::report;
use super::rounds::{PAUSE_MS, ROUNDS_MAX};
use crate::config::ProviderConfig;
use crate::ledger::{Ledger, LedgerError, Payments as _};
use slots::{Slot, Slots};

/// Largest number of payments that the sweeper starts in one round.
const DUE_MAX: u32 = 64;

/// Pool with everything that a request needs.
#[derive(Clone)]
pub struct Pool {
    /// Client of the provider.
    pub provider: CardProvider,
    /// List of payments.
    pub intents: Intents,
    /// Publishes the provider's answers.
    pub producer: Producer,
    /// Ledger, which knows the settled payments.
    pub ledger: Ledger,
    /// Commands that the ledger has not read yet. A report among them is not repeated.
    pub backlog: Arc<BacklogReader>,
    /// Faults that an operator has switched on.
    pub faults: Faults,
    /// Limits of the pool.
    pub config: ProviderConfig,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Error report about a payment that the pool has given up without an outcome.
#[derive(Debug, thiserror::Error)]
#[error(
    "a payment was parked without an outcome after {attempts} attempts: {unknown}. Report its outcome by hand, or let the provider send a webhook"
)]
struct Parked {
    attempts: i64,
    unknown: Unknown,
}

/// Claim of one payment by this process.
struct Claim {
    at: Instant,
    stop: CancellationToken,
}

/// Final outcome of a payment.
struct Outcome {
    answer: Answer,
    /// Attempt to which the outcome is bound. The outcome counts only while no other pool has claimed the payment.
    only_attempt: Option<i64>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self { answer, only_attempt: None }
    }
}

impl Pool {
    /// Handles new and due payments until `stop`, then waits for requests in flight. It never fails.
    pub async fn run(
        self,
        mut new_payments: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) -> Result<(), LedgerError> {
        let slots = Slots::new(self.config.concurrent_max);
        let fresh = async {
            loop {
                let payment_id =
                    tokio::select! { () = stop.cancelled() => break, Some(id) = new_payments.recv() => id };
                tokio::select! {
                    () = stop.cancelled() => break,
                    slot = slots.fresh() => self.start(slot, payment_id, true, &stop),
                }
            }
        };
        let swept = async {
            let interval = Duration::from_millis(self.config.sweep_interval_ms);
            let mut job = Job::new("payment-provider", interval);
            let mut sweep = tokio::time::interval(interval);
            sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut gate = bus::lag::Gate::default();
            loop {
                tokio::select! { () = stop.cancelled() => break, _ = sweep.tick() => {} }
                let run = job.begin();
                let swept = self.sweep(&slots, &stop).await;
                let kept_up = self.upkeep(&mut gate).await;
                job.end(run, swept && kept_up);
            }
        };
        tokio::join!(fresh, swept);
        slots.all_free().await;
        Ok(())
    }

    /// Starts due payments as far as slots are free. The next round follows soon. Returns false if they could not be listed.
    async fn sweep(&self, slots: &Slots, stop: &CancellationToken) -> bool {
        if !slots.has_swept() {
            return true;
        }
        match self.intents.due(State::Requested, DUE_MAX).await {
            Ok(due) => {
                for intent in due {
                    let Some(slot) = slots.swept() else { break };
                    self.start(slot, intent.payment_id, false, stop);
                }
                true
            }
            Err(error) => {
                tracing::warn!(error = %error, "due payments could not be listed, trying again");
                false
            }
        }
    }

    fn start(&self, slot: Slot, payment_id: String, fresh: bool, stop: &CancellationToken) {
        let (pool, stop) = (self.clone(), stop.clone());
        telemetry::spawn(async move {
            if let Err(error) = pool.settle(&payment_id, fresh, stop).await {
                tracing::warn!(payment.id = payment_id, error = %error, "payment could not be processed, trying again");
            }
            drop(slot);
        });
    }

    /// Claims one payment, sends the request and reports the answer, if there is one.
    async fn settle(
        &self,
        payment_id: &str,
        fresh: bool,
        stop: CancellationToken,
    ) -> Result<(), LedgerError> {
        let claim = Claim { at: Instant::now(), stop };
        let Some(intent) = self.intents.claim(payment_id, fresh).await? else { return Ok(()) };
        if self.is_settled(payment_id).await? {
            return Ok(());
        }
        let span = spans::continued("payment.provider", &intent.trace.context());
        let settled = self.request_and_report(&intent, &claim).instrument(span.clone()).await;
        match &settled {
            Ok(true) => spans::set_ok(&span),
            Ok(false) => spans::set_error(&span, Status::Unavailable),
            Err(_) => spans::set_error(&span, Status::InternalError),
        }
        settled.map(drop)
    }

    /// Returns true when the ledger has settled the payment, and marks it as settled on the list.
    async fn is_settled(&self, payment_id: &str) -> Result<bool, LedgerError> {
        let Ok(id) = payment_id.parse::<EventId>() else { return Ok(false) };
        let Some(entry) = self.ledger.settlement(&id).await? else { return Ok(false) };
        self.intents.mark_settled(payment_id, entry.captured()).await?;
        Ok(true)
    }

    async fn request_and_report(&self, intent: &Intent, claim: &Claim) -> Result<bool, LedgerError> {
        if self.fails_at_random(intent) {
            return self.fail(intent).await;
        }
        let outcome = match self.rounds(intent, claim).await {
            Ok(outcome) => outcome,
            Err(unknown) => {
                self.put_back(intent, unknown).await?;
                return Ok(false);
            }
        };
        match self.intents.record(&intent.payment_id, &outcome.answer, outcome.only_attempt).await? {
            Recorded::Answer(intent) => self.report(&intent).await,
            Recorded::Settled => Ok(true),
            Recorded::Overtaken => Ok(false),
            Recorded::Contradicted(contradiction) => {
                contradiction.report(&intent.payment_id);
                Ok(false)
            }
        }
    }

    /// Publishes the recorded answer. A report that can never be published parks the payment.
    async fn report(&self, intent: &Intent) -> Result<bool, LedgerError> {
        let Err(error) = report::publish(&self.producer, intent).await else {
            self.intents.mark_reported(intent).await?;
            return Ok(true);
        };
        if error.class() == contracts::ErrorClass::Transient {
            tracing::warn!(
                payment.id = intent.payment_id, error = %error,
                "the provider's answer was not published, trying again",
            );
        } else if self.intents.park(&intent.payment_id, State::Reported).await? {
            telemetry::report(&error, &[("payment.id", &intent.payment_id)]);
        }
        Ok(false)
    }

    /// Puts a payment without an outcome back, or parks it after too many attempts or for a wrong amount.
    async fn put_back(&self, intent: &Intent, unknown: Unknown) -> Result<(), LedgerError> {
        let is_final = !unknown.is_without_effect() && !matches!(unknown, Unknown::ShuttingDown);
        let exhausted = intent.attempts >= self.config.attempts_max && is_final;
        if exhausted || matches!(unknown, Unknown::OtherAmount) {
            if self.intents.park(&intent.payment_id, State::Requested).await? {
                let parked = Parked { attempts: intent.attempts, unknown };
                telemetry::report(&parked, &[("payment.id", &intent.payment_id)]);
            }
            return Ok(());
        }
        tracing::warn!(
            payment.id = intent.payment_id, attempts = intent.attempts, error = %unknown,
            "the payment's outcome is unknown, sending the request again later",
        );
        self.intents.postpone(intent).await?;
        Ok(())
    }

    /// Tries up to `ROUNDS_MAX` rounds, all under the same key. A round sends the request and looks up an unknown outcome.
    async fn rounds(&self, intent: &Intent, claim: &Claim) -> Result<Outcome, Unknown> {
        let mut pause_ms = PAUSE_MS;
        let mut round = 1;
        loop {
            let unknown = match self.round(intent, round, claim).await {
                Ok(outcome) => return Ok(outcome),
                Err(unknown @ (Unknown::OtherAmount | Unknown::LeaseTooShort | Unknown::ShuttingDown)) => {
                    return Err(unknown);
                }
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

    async fn round(&self, intent: &Intent, round: u32, claim: &Claim) -> Result<Outcome, Unknown> {
        self.may_request(claim)?;
        let answer = if intent.void_wanted {
            self.provider.void(intent).await
        } else {
            self.provider.request(intent).await
        };
        let unknown = match answer {
            Ok(answer) => return Ok(answer.into()),
            // The provider refused the very first request, so no money has moved and none will.
            Err(Unknown::Refused(_)) if round == 1 && intent.attempts == 1 && !intent.void_wanted => {
                return Ok(Outcome { answer: Answer::new(false, ""), only_attempt: Some(1) });
            }
            Err(unknown @ Unknown::OtherAmount) => return Err(unknown),
            // The provider was not reached, so a look-up would fail too.
            Err(unknown) if unknown.is_without_effect() => return Err(unknown),
            Err(unknown) => unknown,
        };
        self.may_request(claim)?;
        match self.provider.look_up(intent).await {
            Ok(answer) => Ok(answer.into()),
            // The provider refuses the request, but an earlier one may still arrive. A void keeps that one from moving money.
            Err(Unknown::NotFound) if matches!(unknown, Unknown::Refused(_)) => {
                self.may_request(claim)?;
                Ok(self.provider.void(intent).await?.into())
            }
            Err(unknown) => Err(unknown),
        }
    }

    /// Refuses to start a request that could end after the lease, because another pool may send one by then. A stopping process
    /// starts none either: its drain waits for this one.
    fn may_request(&self, claim: &Claim) -> Result<(), Unknown> {
        if claim.stop.is_cancelled() {
            return Err(Unknown::ShuttingDown);
        }
        let ends = claim.at.elapsed().saturating_add(Duration::from_millis(self.config.timeout_ms));
        if ends >= Duration::from_millis(self.config.lease_ms) { Err(Unknown::LeaseTooShort) } else { Ok(()) }
    }
}
