//! Checks of sessions at the user service, cached for a moment.
//!
//! It guarantees that a log-out takes effect at once in this process, for reads and writes. Another instance rejects the session
//! within `sessions.known_for_ms` (one second) of its last check. Only a positive result is cached.

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

/// Sessions that were open a moment ago, by id, with their players.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    /// `None` when nothing is cached.
    open: Option<Cache<String, String>>,
    /// Number of sessions ended by this process.
    ended: Arc<AtomicU64>,
}

impl Sessions {
    pub(crate) fn new(config: &config::Sessions) -> Self {
        let open = (config.known_for_ms > 0).then(|| {
            Cache::builder()
                .max_capacity(config.known_max)
                .time_to_live(Duration::from_millis(config.known_for_ms))
                .build()
        });
        Self { open, ended: Arc::default() }
    }

    /// Checks that the session is open and belongs to the bearer.
    pub(crate) async fn check(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let known = self.open.as_ref().and_then(|open| open.get(&bearer.session_id));
        if known.is_some_and(|player_id| player_id == bearer.id) {
            return Ok(());
        }
        let ended = self.ended.load(Ordering::SeqCst);
        peers.check_session(bearer).await?;
        self.insert(bearer, ended);
        Ok(())
    }

    /// Caches a positive result. `ended` is the counter before the check. If a log-out came since, it may have ended this
    /// session, so the result is not cached.
    fn insert(&self, bearer: &Bearer, ended: u64) {
        let Some(open) = &self.open else { return };
        let log_out_came = || self.ended.load(Ordering::SeqCst) != ended;
        if log_out_came() {
            return;
        }
        open.insert(bearer.session_id.clone(), bearer.id.clone());
        // A log-out may have evicted the session just before the insert.
        if log_out_came() {
            open.invalidate(&bearer.session_id);
        }
    }

    /// Evicts a session and discards the result of every check in flight.
    fn evict(&self, bearer: &Bearer) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        if let Some(open) = &self.open {
            open.invalidate(&bearer.session_id);
        }
    }

    /// Ends the session at the user service and here. Ending it again succeeds.
    pub(crate) async fn end(&self, bearer: &Bearer, peers: &Peers) -> Result<(), Problem> {
        let ended = peers.end_session(bearer).await;
        // Also after an error, because the session may have ended. The next check asks the user service.
        self.evict(bearer);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_out_during_check_prevents_caching() {
        let sessions = Sessions::new(&config::Sessions { known_for_ms: 60_000, known_max: 10 });
        let bearer = Bearer { id: "p-1".to_owned(), session_id: "s-1".to_owned() };
        let is_cached = || sessions.open.as_ref().is_some_and(|open| open.contains_key("s-1"));
        let before = sessions.ended.load(Ordering::SeqCst);
        sessions.evict(&bearer);
        sessions.insert(&bearer, before);
        assert!(!is_cached());
        sessions.insert(&bearer, sessions.ended.load(Ordering::SeqCst));
        assert!(is_cached(), "the next check is cached");
    }

    #[test]
    fn cache_is_bounded() {
        let sessions = Sessions::new(&config::Sessions { known_for_ms: 3_600_000, known_max: 10 });
        for number in 0..1_000 {
            let bearer = Bearer { id: "p-1".to_owned(), session_id: format!("s-{number}") };
            sessions.insert(&bearer, 0);
        }
        let open = sessions.open.expect("a cache");
        open.run_pending_tasks();
        assert!((1..=10).contains(&open.entry_count()), "{}", open.entry_count());
    }
}
