//! Courier: a bounded pool beside the consumer that sends the due notifications of `notification.sent`.
//!
//! It guarantees that a bad mailbox or a slow server does not delay other players. No lane waits for an e-mail, each player has
//! at most one e-mail in flight, and e-mails with earlier attempts use at most half of the places. A place is occupied for as
//! long as the server may take, which is minutes. The claim is renewed meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use telemetry::metric::{self, Metric};
use telemetry::spans::{self, Status};
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::MailConfig;
use crate::contacts::{Contact, Contacts};
use crate::domain::delivery::{Attempt, Limits, State, Step, Tally, after};
use crate::domain::win::{self, CHANNEL};
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

/// An e-mail was given up or refused. It is listed, and an operator has to act.
#[derive(Debug, thiserror::Error)]
#[error("a mail was not sent and will not be: {why}")]
struct NotSent {
    why: String,
}

/// E-mails in flight, with their players and whether they had earlier attempts.
#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    mails: HashMap<task::Id, (String, bool)>,
}

impl UnderWay {
    fn players(&self) -> Vec<String> {
        self.mails.values().map(|(player_id, _)| player_id.clone()).collect()
    }

    fn has_one_of(&self, player_id: &str) -> bool {
        self.mails.values().any(|(known, _)| known == player_id)
    }

    fn tried(&self) -> usize {
        self.mails.values().filter(|(_, tried)| *tried).count()
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
        let mut ticks = tokio::time::interval(Duration::from_millis(courier.config.poll_interval_ms));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = UnderWay::default();
        let hurry = CancellationToken::new();
        loop {
            let is_tick = tokio::select! {
                () = stop.cancelled() => break,
                () = courier.wake.notified() => false,
                _ = ticks.tick() => true,
                () = under_way.ended() => false,
            };
            let learned = if is_tick { courier.notifications.learn_time().await } else { Ok(()) };
            let taken_up = match learned {
                Ok(()) => courier.take_up(&mut under_way, &hurry).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken_up {
                tracing::warn!(error = %error, "due mails could not be looked for");
            }
        }
        let all_ended = async { while under_way.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
            hurry.cancel();
            while under_way.tasks.join_next().await.is_some() {}
        }
        Ok(())
    }

    /// Fills the free places with due e-mails, one per player at a time.
    async fn take_up(
        self: &Arc<Self>,
        under_way: &mut UnderWay,
        hurry: &CancellationToken,
    ) -> Result<(), StoreError> {
        let places = self.config.concurrent_max as usize;
        loop {
            let free = places.saturating_sub(under_way.mails.len());
            let also_tried = under_way.tried() < places.div_ceil(2);
            if free == 0 {
                return Ok(());
            }
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            let found = self.notifications.due(&under_way.players(), also_tried, limit).await?;
            if found.is_empty() {
                return Ok(());
            }
            let mut has_claimed = false;
            for notification in found {
                let tried = notification.attempts > 0;
                let has_room = !tried || under_way.tried() < places.div_ceil(2);
                if !has_room || under_way.has_one_of(&notification.player_id) {
                    continue;
                }
                let Some(claim) = self.notifications.claim(&notification).await? else { continue };
                has_claimed = true;
                let (courier, hurry) = (Arc::clone(self), hurry.clone());
                let player_id = notification.player_id.clone();
                let task = under_way.tasks.spawn(telemetry::with_hub(async move {
                    courier.deliver(&notification, &claim, &hurry).await;
                }));
                under_way.mails.insert(task.id(), (player_id, tried));
            }
            // Other processes were faster, or there is no place for these now. The next pass finds the rest.
            if !has_claimed {
                return Ok(());
            }
        }
    }

    /// Makes one attempt at a claimed notification, in a transaction that continues the win's trace.
    async fn deliver(&self, notification: &Notification, claim: &Claim, hurry: &CancellationToken) {
        let span = spans::continued("send mail", &notification.trace.context());
        let so_far = self.so_far(notification);
        let step = if so_far.state == State::Parked {
            Some(so_far)
        } else {
            let attempt = self.attempt(notification, claim, so_far.tally, hurry).instrument(span.clone());
            let attempt = tokio::select! {
                attempt = attempt => attempt,
                // The claim is lost only to a process that considers this one dead and counts this attempt.
                () = self.keep(claim) => None,
            };
            attempt.map(|attempt| after(attempt, so_far.tally, &self.limits()))
        };
        if let Some(step) = step {
            self.note(claim, &step, hurry).instrument(span.clone()).await;
        }
        spans::end(&span);
    }

    /// Returns the state before this attempt. If the last holder died, its outcome is unknown, unless it had certainly not handed
    /// the e-mail over yet.
    fn so_far(&self, notification: &Notification) -> Step {
        if notification.was_claimed() {
            let died = if notification.was_handed_over() {
                Attempt::Unknown("the process that sent it has died".to_owned())
            } else {
                Attempt::PutOff("the process died before it handed the mail over".to_owned())
            };
            return after(died, notification.tally(), &self.limits());
        }
        Step { state: State::Due, tally: notification.tally(), pause_ms: 0, why: None }
    }

    /// Returns `None` if nothing was tried and the claim was released.
    async fn attempt(
        &self,
        notification: &Notification,
        claim: &Claim,
        tally: Tally,
        hurry: &CancellationToken,
    ) -> Option<Attempt> {
        let contact = match self.contacts.find(&notification.player_id).await {
            Ok(Some(contact)) => contact,
            Ok(None) => return Some(Attempt::NoContact),
            Err(error) if error.is_unreadable() => {
                return Some(Attempt::Unreadable("the contact cannot be read".to_owned()));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a contact could not be read, the mail is tried again");
                self.give_back(claim, tally, hurry).await;
                return None;
            }
        };
        if contact.email_enabled == Some(false) {
            return Some(Attempt::Unwanted);
        }
        let handed_over = HandedOver::default();
        let attempt = tokio::select! {
            attempt = self.send(notification, claim, &contact, &handed_over) => attempt,
            () = hurry.cancelled() => {
                if !handed_over.is_set() {
                    self.give_back(claim, tally, hurry).await;
                    return None;
                }
                Attempt::Unknown("the process ended before the server answered".to_owned())
            }
        };
        let is_taken = attempt == Attempt::Taken;
        let metric = if is_taken { Metric::NotificationsSent } else { Metric::NotificationsFailed };
        metric::count(metric, 1, &[("channel", CHANNEL)]);
        Some(attempt)
    }

    async fn send(
        &self,
        notification: &Notification,
        claim: &Claim,
        contact: &Contact,
        handed_over: &HandedOver,
    ) -> Attempt {
        let win = &notification.win;
        let name = contact.display_name.as_deref().unwrap_or("player");
        let mail = win::mail(&win.event_id, self.mailer.domain(), name, &win.game, win.stake, win.payout);
        let to = contact.email.as_deref().unwrap_or_default();
        self.mailer.send(to, mail, win.at.to_system_time(), self.hand_over(claim), handed_over).await
    }

    /// Stores that the e-mail is handed over from now on. If this returns false, the e-mail must not be handed over.
    async fn hand_over(&self, claim: &Claim) -> bool {
        self.notifications.hand_over(claim).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "that a mail is handed over could not be stored, so it is tried again");
            false
        })
    }

    /// Renews a claim until it is lost.
    async fn keep(&self, claim: &Claim) {
        let every = Duration::from_millis(self.config.claim_ms / RENEWALS_PER_CLAIM);
        let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            ticks.tick().await;
            match self.notifications.renew(claim).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(error = %error, "the claim of a mail could not be renewed"),
            }
        }
    }

    /// Stores the step after an attempt, with retries until the store answers. Reports an e-mail that was refused or given up.
    async fn note(&self, claim: &Claim, step: &Step, hurry: &CancellationToken) {
        let span = tracing::Span::current();
        match step.state {
            State::Sent | State::Skipped | State::Waiting => spans::set_ok(&span),
            _ => spans::set_error(&span, Status::Unavailable),
        }
        loop {
            match self.notifications.note(claim, step).await {
                Ok(true) if matches!(step.state, State::Refused | State::Parked) => {
                    let why = step.why.clone().unwrap_or_default();
                    telemetry::report(&NotSent { why }, &[("notification.id", claim.id())]);
                    return;
                }
                Ok(_) => return,
                Err(error) => tracing::warn!(error = %error, "what became of a mail could not be noted"),
            }
            if hurry.is_cancelled() {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    async fn give_back(&self, claim: &Claim, tally: Tally, hurry: &CancellationToken) {
        let pause_ms = if hurry.is_cancelled() { 0 } else { self.config.pause_ms_min };
        while let Err(error) = self.notifications.give_back(claim, tally, pause_ms).await {
            tracing::warn!(error = %error, "a mail that was not tried could not be given back");
            if hurry.is_cancelled() {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            repeats_of_unknown_max: self.config.repeats_of_unknown_max,
            put_off_max: self.config.put_off_max,
            pause_ms_min: self.config.pause_ms_min,
            pause_ms_max: self.config.pause_ms_max,
        }
    }
}
