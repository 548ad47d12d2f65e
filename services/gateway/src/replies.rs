//! Cache of replies in Redis, so that a repeated key costs no second trip through Kafka. Without Redis a write gets the same
//! answer. Only a look-up of an accepted bet or payment then gives a 404 until its owner knows it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use contracts::{EventId, RequestHash};
use store::redis::{Cache, CacheError};

use crate::domain::answer::CachedReply;

/// Pause after a cache failure. Without it, every bet would wait for the time-out of a stalled Redis.
const PAUSE_MS: u64 = 1_000;

/// The cached replies.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    cache: Cache,
    ttl_s: u64,
    started: Instant,
    paused_until_ms: Arc<AtomicU64>,
}

impl Replies {
    pub(crate) fn new(cache: Cache, ttl_s: u64) -> Self {
        Self { cache, ttl_s, started: Instant::now(), paused_until_ms: Arc::default() }
    }

    /// Returns the cached reply to this command.
    pub(crate) async fn get(&self, id: &EventId) -> Option<CachedReply> {
        if self.is_paused() {
            return None;
        }
        let found = self.cache.get(&reply_key(id)).await;
        self.pause_on_error(found).flatten().and_then(|bytes| CachedReply::from_bytes(&bytes))
    }

    /// Caches a reply.
    pub(crate) async fn put(&self, id: &EventId, request_hash: &RequestHash, body: Bytes) {
        if self.is_paused() {
            return;
        }
        let reply = CachedReply::new(request_hash, body).to_bytes();
        let put = self.cache.put(&reply_key(id), reply, self.ttl_s).await;
        self.pause_on_error(put);
    }

    /// Records that this command was accepted, for look-ups before its owner knows it.
    pub(crate) async fn put_accepted(&self, id: &EventId, player_id: &str) {
        if self.is_paused() {
            return;
        }
        let put = self.cache.put(&accepted_key(id.as_str()), player_id.as_bytes(), self.ttl_s).await;
        self.pause_on_error(put);
    }

    /// True when this player's command was accepted.
    pub(crate) async fn was_accepted(&self, id: &str, player_id: &str) -> bool {
        if self.is_paused() {
            return false;
        }
        let found = self.cache.get(&accepted_key(id)).await;
        self.pause_on_error(found).flatten().is_some_and(|owner| owner == player_id.as_bytes())
    }

    fn pause_on_error<T>(&self, result: Result<T, CacheError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let until = self.now_ms().saturating_add(PAUSE_MS);
                // Logged when the pause is extended, not for every bet.
                if self.paused_until_ms.fetch_max(until, Ordering::Relaxed) < until {
                    tracing::warn!(error = %error, "Redis failed, so replies are not cached for one second");
                }
                None
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.now_ms() < self.paused_until_ms.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn reply_key(id: &EventId) -> String {
    format!("reply:{id}")
}

fn accepted_key(id: &str) -> String {
    format!("accepted:{id}")
}
