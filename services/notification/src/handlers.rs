//! One file per event type; here what they share.

mod bet_settled;
mod player_registered;
mod preferences_changed;

use std::sync::Arc;

use bus::Router;
use contracts::EventType;

use crate::claims::Claims;
use crate::contacts::Contacts;
use crate::mailer::Mailer;

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) contacts: Contacts,
    pub(crate) claims: Claims,
    pub(crate) mailer: Mailer,
    pub(crate) contact_attempts_max: u32,
}

/// The types that notification handles.
pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    Router::new()
        .on(EventType::BetSettled, bet_settled::OnBetSettled(Arc::clone(desk)))
        .on(EventType::PlayerRegistered, player_registered::OnPlayerRegistered(Arc::clone(desk)))
        .on(EventType::PreferencesChanged, preferences_changed::OnPreferencesChanged(Arc::clone(desk)))
}
