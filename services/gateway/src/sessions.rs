//! Whether a session still stands: user's word, remembered for a moment.
//!
//! The promise kept here: a session that was ended is over at once in the process that ended it, and within
//! `sessions.known_for_ms` (a second) of its last look in every other, for reads as for writes. Only a "yes" is remembered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chassis::problem::Problem;
use moka::sync::Cache;

use crate::{auth::Bearer, config, peers::Peers};

/// The sessions that stood a moment ago, by id, with their players.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    /// `None`: nothing is remembered.
    known: Option<Cache<String, String>>,
    /// How many sessions were ended here.
    ended: Arc<AtomicU64>,
}

impl Sessions {
    pub(crate) fn new(config: &config::Sessions) -> Self {
        let known = (config.known_for_ms > 0).then(|| {
            Cache::builder()
                .max_capacity(config.known_max)
                .time_to_live(Duration::from_millis(config.known_for_ms))
                .build()
        });
        Self { known, ended: Arc::default() }
    }

    /// Whether the session stands and is the bearer's own.
    pub(crate) async fn check(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let known = self.known.as_ref().and_then(|known| known.get(&bearer.session_id));
        if known.is_some_and(|player_id| player_id == bearer.id) {
            return Ok(());
        }
        let ended = self.ended.load(Ordering::SeqCst);
        peers.check_session(bearer).await?;
        self.remember(bearer, ended);
        Ok(())
    }

    /// Remembers a "yes" that was asked for when so many sessions had been ended. One that a log-out has overtaken may be about
    /// the session that ended, and is not remembered.
    fn remember(&self, bearer: &Bearer, ended: u64) {
        let Some(known) = &self.known else { return };
        let is_overtaken = || self.ended.load(Ordering::SeqCst) != ended;
        if is_overtaken() {
            return;
        }
        known.insert(bearer.session_id.clone(), bearer.id.clone());
        // The log-out may have forgotten the session just before it was remembered.
        if is_overtaken() {
            known.invalidate(&bearer.session_id);
        }
    }

    /// Forgets a session, and every look that is under way.
    fn forget(&self, bearer: &Bearer) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        if let Some(known) = &self.known {
            known.invalidate(&bearer.session_id);
        }
    }

    /// Ends the session, in user and here. One that has ended already has ended.
    pub(crate) async fn end(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let ended = peers.end_session(bearer).await;
        // Also when nobody knows whether it has ended: the next look asks.
        self.forget(bearer);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_that_a_log_out_has_overtaken_is_not_remembered() {
        let sessions = Sessions::new(&config::Sessions { known_for_ms: 60_000, known_max: 10 });
        let bearer = Bearer { id: "p-1".to_owned(), session_id: "s-1".to_owned() };
        let is_known = || sessions.known.as_ref().is_some_and(|known| known.contains_key("s-1"));
        let asked = sessions.ended.load(Ordering::SeqCst);
        sessions.forget(&bearer);
        sessions.remember(&bearer, asked);
        assert!(!is_known());
        sessions.remember(&bearer, sessions.ended.load(Ordering::SeqCst));
        assert!(is_known(), "the next look is remembered again");
    }

    #[test]
    fn no_more_sessions_are_remembered_than_configured() {
        let sessions = Sessions::new(&config::Sessions { known_for_ms: 3_600_000, known_max: 10 });
        for number in 0..1_000 {
            let bearer = Bearer { id: "p-1".to_owned(), session_id: format!("s-{number}") };
            sessions.remember(&bearer, 0);
        }
        let known = sessions.known.expect("a memory");
        known.run_pending_tasks();
        assert!((1..=10).contains(&known.entry_count()), "{}", known.entry_count());
    }
}
