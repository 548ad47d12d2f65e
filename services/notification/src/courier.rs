//! Courier: a bounded pool beside the consumer that sends the due notifications of `notification.sent`.
//!
//! It guarantees that a bad mailbox or a slow server does not delay other players. No lane waits for an e-mail, each player has
//! at most one e-mail in flight, and e-mails with earlier attempts use at most half of the slots. A slot is occupied for as long
//! as the server may take, which is minutes. During that time the claim is renewed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use telemetry::check_in::Job;
use telemetry::metric::{self, Metric};
use telemetry::spans::{self, Status};
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::MailConfig;
use crate::contacts::{Contact, Contacts};
use crate::domain::delivery::{self, Attempt, Event, Limits, State, Step, Tally};
use crate::domain::mail::{CHANNEL, Mail};
use crate::mailer::{HandedOver, Mailer};
use crate::notifications::{Claim, Notification, Notifications};

/// Time that e-mails in flight have after the stop. It is shorter than the drain of a process.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Pause after the store did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Number of renewals during the lifetime of a claim.
const RENEWALS_PER_CLAIM: u64 = 3;

/// Shared state of the deliveries.
pub(crate) struct Courier {
    notifications: Notifications,
    contacts: Contacts,
    mailer: Mailer,
    config: MailConfig,
    wake: Arc<Notify>,
}

/// An e-mail was given up or refused. It is stored, and an operator has to act.
#[derive(Debug, thiserror::Error)]
#[error("an e-mail was not sent and will not be retried: {0}")]
struct NotSent(String);

/// E-mails in flight, with their players and whether they had earlier attempts.
#[derive(Debug, Default)]
struct InFlight {
    tasks: JoinSet<()>,
    mails: HashMap<task::Id, (String, bool)>,
}

impl InFlight {
    fn players(&self) -> Vec<String> {
        self.mails.values().map(|(player_id, _)| player_id.clone()).collect()
    }

    fn has_one_of(&self, player_id: &str) -> bool {
        self.mails.values().any(|(known, _)| known == player_id)
    }

    fn retries(&self) -> usize {
        self.mails.values().filter(|(_, is_retry)| *is_retry).count()
    }

    /// Waits for the next delivery that ends, also by a panic (which was reported).
    async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.mails.remove(&id)),
            Some(Err(panic)) => drop(self.mails.remove(&panic.id())),
            None => std::future::pending().await,
        }
    }
}

impl Courier {
    pub(crate) fn new(
        notifications: Notifications,
        contacts: Contacts,
        mailer: Mailer,
        config: MailConfig,
        wake: Arc<Notify>,
    ) -> Self {
        Self { notifications, contacts, mailer, config, wake }
    }

    /// Sends until `stop` is cancelled, then waits a short time for the e-mails in flight.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let courier = Arc::new(self);
        let interval = Duration::from_millis(courier.config.poll_interval_ms);
        let mut job = Job::new("notification-courier", interval);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_flight = InFlight::default();
        let abort = CancellationToken::new();
        loop {
            let is_tick = tokio::select! {
                () = stop.cancelled() => break,
                () = courier.wake.notified() => false,
                _ = ticks.tick() => true,
                () = in_flight.ended() => false,
            };
            let run = job.begin();
            let synced = if is_tick { courier.notifications.sync_time().await } else { Ok(()) };
            let started = match synced {
                Ok(()) => courier.start_due(&mut in_flight, &abort).await,
                Err(error) => Err(error),
            };
            job.end(run, started.is_ok());
            if let Err(error) = started {
                tracing::warn!(error = %error, "reading or claiming due e-mails failed, retrying");
            }
        }
        let all_ended = async { while in_flight.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
            abort.cancel();
            while in_flight.tasks.join_next().await.is_some() {}
        }
        Ok(())
    }

    /// Fills the free slots with due e-mails, one per player at a time.
    async fn start_due(
        self: &Arc<Self>,
        in_flight: &mut InFlight,
        abort: &CancellationToken,
    ) -> Result<(), StoreError> {
        let slots = self.config.concurrent_max as usize;
        loop {
            let free = slots.saturating_sub(in_flight.mails.len());
            let with_retries = in_flight.retries() < slots.div_ceil(2);
            if free == 0 {
                return Ok(());
            }
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            let found = self.notifications.due(in_flight.players(), with_retries, limit).await?;
            let mut has_claimed = false;
            for notification in found {
                let is_retry = notification.attempts > 0;
                let has_slot = !is_retry || in_flight.retries() < slots.div_ceil(2);
                if !has_slot || in_flight.has_one_of(&notification.player_id) {
                    continue;
                }
                let Some(claim) = self.notifications.claim(&notification).await? else { continue };
                has_claimed = true;
                let (courier, abort) = (Arc::clone(self), abort.clone());
                let player_id = notification.player_id.clone();
                let task = in_flight.tasks.spawn(telemetry::with_hub(async move {
                    courier.deliver(&notification, &claim, &abort).await;
                }));
                in_flight.mails.insert(task.id(), (player_id, is_retry));
            }
            // None is due, other processes were faster, or these have no free slot now. The next pass finds the rest.
            if !has_claimed {
                return Ok(());
            }
        }
    }

    /// Makes one attempt at a claimed notification, in a transaction that continues the event's trace.
    async fn deliver(&self, notification: &Notification, claim: &Claim, abort: &CancellationToken) {
        let span = spans::continued("send mail", &notification.trace.context());
        let tally = notification.tally();
        // If an earlier holder died, its attempt is counted first, and may have been the last one.
        let earlier = notification.abandoned_attempt().and_then(|attempt| self.after(attempt, tally));
        let tally = earlier.as_ref().and_then(|step| step.tally).unwrap_or(tally);
        let step = match earlier {
            Some(step) if step.state.is_terminal() => Some(step),
            _ => {
                let attempt = self.attempt(notification, claim, abort).instrument(span.clone());
                tokio::select! {
                    attempt = attempt => self.after(attempt, tally),
                    // The claim is lost only to a process that considers this one dead and counts this attempt.
                    () = self.renew_until_lost(claim) => None,
                }
            }
        };
        if let Some(step) = step {
            self.end(claim, &step, abort).instrument(span.clone()).await;
        }
        spans::end(&span);
    }

    fn after(&self, attempt: Attempt, earlier: Tally) -> Option<Step> {
        let limits = Limits {
            repeats_of_unknown_max: self.config.repeats_of_unknown_max,
            put_off_max: self.config.put_off_max,
            pause_ms_min: self.config.pause_ms_min,
            pause_ms_max: self.config.pause_ms_max,
        };
        delivery::next(State::Claimed, Event::Attempted(attempt, earlier, &limits))
    }

    async fn attempt(
        &self,
        notification: &Notification,
        claim: &Claim,
        abort: &CancellationToken,
    ) -> Attempt {
        let contact = match self.contacts.find(&notification.player_id).await {
            Ok(Some(contact)) => contact,
            Ok(None) => return Attempt::NoContact,
            Err(error) if error.is_unreadable() => {
                return Attempt::Unreadable("the contact cannot be read".to_owned());
            }
            Err(error) => {
                tracing::warn!(error = %error, "reading a contact failed, the e-mail is retried later");
                return if abort.is_cancelled() { Attempt::Interrupted } else { Attempt::StoreFailed };
            }
        };
        if contact.email_enabled == Some(false) {
            return Attempt::Unwanted;
        }
        let handed_over = HandedOver::default();
        let attempt = tokio::select! {
            attempt = self.send(notification, claim, &contact, &handed_over) => attempt,
            () = abort.cancelled() => {
                if !handed_over.is_set() {
                    return Attempt::Interrupted;
                }
                Attempt::Unknown("the process shut down before the mail server answered".to_owned())
            }
        };
        let is_accepted = attempt == Attempt::Accepted;
        let metric = if is_accepted { Metric::NotificationsSent } else { Metric::NotificationsFailed };
        metric::count(metric, 1, &[("channel", CHANNEL)]);
        attempt
    }

    async fn send(
        &self,
        notification: &Notification,
        claim: &Claim,
        contact: &Contact,
        handed_over: &HandedOver,
    ) -> Attempt {
        let Some(notice) = notification.notice() else {
            return Attempt::Unreadable("the stored notification has no text".to_owned());
        };
        let name = contact.display_name.as_deref().unwrap_or("player");
        let mail = Mail::new(&notice.event_id, self.mailer.domain(), name, &notice.subject, &notice.text);
        let to = contact.email.as_deref().unwrap_or_default();
        self.mailer.send(to, mail, notice.at.to_system_time(), self.hand_over(claim), handed_over).await
    }

    /// Stores that the e-mail is handed over from now on. If this returns false, the e-mail must not be handed over.
    async fn hand_over(&self, claim: &Claim) -> bool {
        self.notifications.hand_over(claim).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "storing the hand-over of an e-mail failed, it is retried later");
            false
        })
    }

    async fn renew_until_lost(&self, claim: &Claim) {
        let every = Duration::from_millis(self.config.claim_ms / RENEWALS_PER_CLAIM);
        let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            ticks.tick().await;
            match self.notifications.renew(claim).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error = %error, "renewing the claim of an e-mail failed, retrying")
                }
            }
        }
    }

    /// Stores the step after an attempt, with retries until the store answers. Reports an e-mail that was refused or given up.
    async fn end(&self, claim: &Claim, step: &Step, abort: &CancellationToken) {
        let span = tracing::Span::current();
        match step.state {
            State::Sent | State::Skipped | State::Waiting => spans::set_ok(&span),
            State::Due if step.attempts < 0 => {}
            _ => spans::set_error(&span, Status::Unavailable),
        }
        loop {
            match self.notifications.end(claim, step).await {
                Ok(true) if matches!(step.state, State::Refused | State::Parked) => {
                    let why = step.why.clone().unwrap_or_default();
                    telemetry::report(&NotSent(why), &[("notification.id", claim.id())]);
                    return;
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(error = %error, "storing the result of an e-mail failed, retrying")
                }
            }
            if abort.is_cancelled() {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}
