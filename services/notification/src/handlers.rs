//! Event handlers, one file per event type. No handler sends an e-mail. The courier does ([`crate::courier`]).

mod bet_settled;
mod player_registered;
mod preferences_changed;

use std::sync::Arc;

use bus::Router;
use contracts::proto::bets::v1::BetSettled;
use contracts::proto::players::v1::{PlayerRegistered, PreferencesChanged};
use store::StoreError;
use tokio::sync::Notify;

use crate::contacts::Contacts;
use crate::domain::delivery::State;
use crate::notifications::{Notice, Notifications};

/// State shared by the handlers.
pub(crate) struct Context {
    pub(crate) contacts: Contacts,
    pub(crate) notifications: Notifications,
    /// Wakes the courier when something is due.
    pub(crate) wake: Arc<Notify>,
}

impl Context {
    /// Stores a notification about an event, due at once or waiting for its player. Returns false if it was already stored.
    ///
    /// Registration and event both release waiting notifications after their own write, so the second one sees the first. Neither
    /// record is finished before that, so it is redelivered after a crash.
    async fn add(&self, notice: Notice, player_id: &str) -> Result<bool, StoreError> {
        let is_known = self.contacts.find(player_id).await?.is_some();
        let is_new = self.notifications.add(notice, player_id, State::initial(is_known)).await?;
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

    /// Makes due the notifications that wait for this player, who is known.
    async fn release(&self, player_id: &str) -> Result<(), StoreError> {
        self.notifications.release(player_id).await?;
        self.wake.notify_one();
        Ok(())
    }
}

/// Returns the router with the event types that notification handles.
pub(crate) fn router(context: &Arc<Context>) -> Router {
    Router::new()
        .on::<BetSettled>(bet_settled::OnBetSettled(Arc::clone(context)))
        .on::<PlayerRegistered>(player_registered::OnPlayerRegistered(Arc::clone(context)))
        .on::<PreferencesChanged>(preferences_changed::OnPreferencesChanged(Arc::clone(context)))
}
