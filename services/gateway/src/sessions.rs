//! Whether a session still stands: user's word, remembered for a moment.
//!
//! The promise kept here: a session that was ended is over at once in the process that ended it, and within
//! `sessions.known_for_ms` (a second) of its last look in every other, for reads as for writes. Only a "yes" is remembered.

use std::time::Duration;

use chassis::problem::Problem;
use moka::sync::Cache;

use crate::{auth::Bearer, config, peers::Peers};

/// The sessions that stood a moment ago, by id, with their players.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    /// `None`: nothing is remembered.
    known: Option<Cache<String, String>>,
}

impl Sessions {
    pub(crate) fn new(config: &config::Sessions) -> Self {
        let known = (config.known_for_ms > 0).then(|| {
            Cache::builder()
                .max_capacity(config.known_max)
                .time_to_live(Duration::from_millis(config.known_for_ms))
                .build()
        });
        Self { known }
    }

    /// Whether the session stands and is the bearer's own.
    pub(crate) async fn check(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let known = self.known.as_ref().and_then(|known| known.get(&bearer.session_id));
        if known.is_some_and(|player_id| player_id == bearer.id) {
            return Ok(());
        }
        peers.check_session(bearer).await?;
        if let Some(known) = &self.known {
            known.insert(bearer.session_id.clone(), bearer.id.clone());
        }
        Ok(())
    }

    /// Ends the session, in user and here. One that has ended already has ended.
    pub(crate) async fn end(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let ended = peers.end_session(bearer).await;
        // Also when nobody knows whether it has ended: the next look asks.
        if let Some(known) = &self.known {
            known.invalidate(&bearer.session_id);
        }
        ended
    }
}
