//! `BetSettled`: a big win is worth a mail; claim, send, mark.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;
use contracts::proto::bets::v1::BetSettled;
use contracts::proto::common::v1::Money as WireMoney;
use money::Money;
use telemetry::metric::{self, Metric};

use super::Desk;
use crate::claims::Claim;
use crate::contacts::Contact;
use crate::domain::win::{self, CHANNEL, Mail};
use crate::error::NotificationError;

/// Handles `BetSettled`.
pub(crate) struct OnBetSettled(pub(crate) Arc<Desk>);

#[async_trait]
impl Handle for OnBetSettled {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::BetSettled(bet) = &delivery.event.message else {
            return Err(NotificationError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let (stake, payout) = (money(bet.stake.as_ref(), "stake")?, money(bet.payout.as_ref(), "payout")?);
        if !win::is_big(stake, payout) {
            return Ok(Outcome::Applied);
        }
        let desk = &self.0;
        let event_id = delivery.event.id.as_str();
        match desk.claims.claim(event_id, &bet.player_id).await? {
            Claim::Done => return Ok(Outcome::Duplicate),
            Claim::Busy => return Err(NotificationError::Busy.into()),
            Claim::Mine => {}
        }
        let Some(contact) = self.contact(delivery, bet).await? else { return Ok(Outcome::Rejected) };
        let name = contact.display_name.as_deref().unwrap_or("player");
        let mail = win::mail(event_id, desk.mailer.domain(), name, &bet.game, stake, payout);
        self.send(&contact, mail, delivery.event.time.into()).await?;
        desk.claims.sent(event_id).await?;
        Ok(Outcome::Applied)
    }
}

impl OnBetSettled {
    /// Who gets the mail; `None` when nobody does, which is then noted.
    async fn contact(
        &self,
        delivery: &Delivery,
        bet: &BetSettled,
    ) -> Result<Option<Contact>, NotificationError> {
        let desk = &self.0;
        let why_not = match desk.contacts.find(&bet.player_id).await? {
            Some(contact) if contact.email_enabled.unwrap_or(true) => return Ok(Some(contact)),
            Some(_) => "unwanted",
            None if delivery.attempt < desk.contact_attempts_max => {
                return Err(NotificationError::NoContactYet);
            }
            None => "no_contact",
        };
        desk.claims.skipped(delivery.event.id.as_str(), why_not).await?;
        Ok(None)
    }

    async fn send(&self, contact: &Contact, mail: Mail, at: SystemTime) -> Result<(), NotificationError> {
        let to = contact.email.as_deref().unwrap_or_default();
        let outcome = self.0.mailer.send(to, mail, at).await;
        let metric = if outcome.is_ok() { Metric::NotificationsSent } else { Metric::NotificationsFailed };
        metric::count(metric, 1, &[("channel", CHANNEL)]);
        Ok(outcome?)
    }
}

fn money(amount: Option<&WireMoney>, field: &'static str) -> Result<Money, NotificationError> {
    amount.and_then(|amount| Money::try_from(amount).ok()).ok_or(NotificationError::Incomplete { field })
}
