//! One file per event type; here what they share.

mod bet_settled;
mod player_registered;
mod preferences_changed;

use std::sync::Arc;

use bus::{Outcome, Router};
use contracts::EventType;
use contracts::class::{Classify as _, ErrorClass};
use telemetry::metric::{self, Metric};

use crate::claims::{Claim, Claims, Win};
use crate::contacts::{Contact, Contacts};
use crate::domain::win::{self, CHANNEL};
use crate::error::NotificationError;
use crate::mailer::Mailer;

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) contacts: Contacts,
    pub(crate) claims: Claims,
    pub(crate) mailer: Mailer,
}

impl Desk {
    /// Sends the mail of a notification that was claimed, or notes that this player wants none.
    async fn send(&self, contact: &Contact, win: &Win) -> Result<Outcome, NotificationError> {
        if contact.email_enabled == Some(false) {
            self.claims.skipped(&win.event_id, "unwanted").await?;
            return Ok(Outcome::Rejected);
        }
        let name = contact.display_name.as_deref().unwrap_or("player");
        let mail = win::mail(&win.event_id, self.mailer.domain(), name, &win.game, win.stake, win.payout);
        let to = contact.email.as_deref().unwrap_or_default();
        let outcome = self.mailer.send(to, mail, win.at.to_system_time()).await;
        let metric = if outcome.is_ok() { Metric::NotificationsSent } else { Metric::NotificationsFailed };
        metric::count(metric, 1, &[("channel", CHANNEL)]);
        outcome?;
        self.claims.sent(&win.event_id).await?;
        Ok(Outcome::Applied)
    }

    /// Sends whatever waits for this player, if they are known by now, while the event `by` is handled.
    ///
    /// Registration and win both come here after their own write, so whichever is second sees the first; and neither is
    /// finished before it has been here, so after a death it comes here again.
    async fn send_what_waits(&self, player_id: &str, by: &str) -> Result<(), NotificationError> {
        loop {
            let waiting = self.claims.waiting(player_id).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            let Some(contact) = self.contacts.find(player_id).await? else { return Ok(()) };
            let mut refused = None;
            for win in waiting {
                match self.claims.claim(&win.event_id, player_id, by).await? {
                    Claim::Done => continue,
                    Claim::Busy => return Err(NotificationError::Busy),
                    Claim::Mine => {}
                }
                match self.send(&contact, &win).await {
                    // one mail that nobody will ever take does not keep the others from going
                    Err(error) if error.class() == ErrorClass::Poison => refused = Some(error),
                    sent => {
                        sent?;
                    }
                }
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
    }
}

/// The types that notification handles.
pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    Router::new()
        .on(EventType::BetSettled, bet_settled::OnBetSettled(Arc::clone(desk)))
        .on(EventType::PlayerRegistered, player_registered::OnPlayerRegistered(Arc::clone(desk)))
        .on(EventType::PreferencesChanged, preferences_changed::OnPreferencesChanged(Arc::clone(desk)))
}
