//! One file per event type; here what they share. No handler sends anything: that is the courier's ([`crate::courier`]).

mod bet_settled;
mod player_registered;
mod preferences_changed;

use std::sync::Arc;

use bus::Router;
use contracts::EventType;
use store::StoreError;
use tokio::sync::Notify;

use crate::contacts::Contacts;
use crate::domain::delivery::State;
use crate::notifications::{Notifications, Win};

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) contacts: Contacts,
    pub(crate) notifications: Notifications,
    /// Tells the courier that something is due.
    pub(crate) wake: Arc<Notify>,
}

impl Desk {
    /// Stores a notification about a win, due at once or waiting for its player; false when it was known.
    ///
    /// Registration and win both release what waits after their own write, so whichever is second sees the first; and neither
    /// is finished before it has, so after a death it does so again.
    async fn add(&self, win: Win, player_id: &str) -> Result<bool, StoreError> {
        let is_known = self.contacts.find(player_id).await?.is_some();
        let state = if is_known { State::Due } else { State::Waiting };
        let is_new = self.notifications.add(win, player_id, state).await?;
        if !is_known || !is_new {
            self.release_if_known(player_id).await?;
        }
        self.wake.notify_one();
        Ok(is_new)
    }

    async fn release_if_known(&self, player_id: &str) -> Result<(), StoreError> {
        if self.contacts.find(player_id).await?.is_some() {
            self.release(player_id).await?;
        }
        Ok(())
    }

    /// What waits for this player, who is known, is due.
    async fn release(&self, player_id: &str) -> Result<(), StoreError> {
        self.notifications.release(player_id).await?;
        self.wake.notify_one();
        Ok(())
    }
}

/// The types that notification handles.
pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    Router::new()
        .on(EventType::BetSettled, bet_settled::OnBetSettled(Arc::clone(desk)))
        .on(EventType::PlayerRegistered, player_registered::OnPlayerRegistered(Arc::clone(desk)))
        .on(EventType::PreferencesChanged, preferences_changed::OnPreferencesChanged(Arc::clone(desk)))
}
