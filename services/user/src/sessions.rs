//! Sessions. The document store is the source of truth, the cache serves look-ups, and losing the cache loses nothing.
//!
//! It guarantees that an ended session stays ended, even when a look-up that began earlier writes to the cache later. A session's
//! id grants access like the session itself, so no cache key and therefore no span contains it.

use contracts::ids;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::StoreError;
use store::bson::{DateTime, doc};
use store::mongo::{Collection, Index, Mongo};
use store::redis::Cache;
use uuid::Uuid;

use crate::config;
use crate::error::UserError;
use crate::players::{PlayerDocument, Players};

/// Number of a player's sessions that a change evicts from the cache. Further ones stay until their TTL ends.
const EVICTED_SESSIONS_MAX: u32 = 64;
/// Cache value of an ended session.
const ENDED: &[u8] = b"ended";

/// `user.sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SessionDocument {
    #[serde(rename = "_id")]
    id: String,
    player_id: String,
    /// The request that opened it, if it had a key. The same request again returns the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_id: Option<String>,
    created_at: DateTime,
    expires_at: DateTime,
}

/// A session that was opened now, or earlier by the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Id of the player.
    pub player_id: String,
    /// Id of the session: 122 random bits.
    pub session_id: String,
    /// End of the session.
    pub expires_at_epoch_s: i64,
}

/// The session as the gateway gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionView {
    /// Id of the player.
    pub player_id: String,
    /// `pending`, `verified` or `rejected`.
    pub kyc_status: String,
    /// End of the self-exclusion.
    pub self_excluded_until_epoch_ms: Option<i64>,
    /// End of the session.
    pub expires_at_epoch_s: i64,
}

/// Cached state of a session.
enum Cached {
    Open(SessionView),
    Ended,
    /// Nothing, or an invalid value. The store has to be read.
    Unknown,
}

/// The sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    sessions: Collection<SessionDocument>,
    players: Players,
    cache: Cache,
    config: config::Sessions,
}

impl Sessions {
    /// Opens the collection and creates missing indexes.
    pub async fn open(
        mongo: &Mongo,
        players: Players,
        cache: Cache,
        config: config::Sessions,
    ) -> Result<Self, StoreError> {
        let sessions: Collection<SessionDocument> = mongo.collection("sessions").with_secret_ids();
        let keyed = doc! { "command_id": { "$exists": true } };
        sessions.ensure_index(Index::on(doc! { "command_id": 1 }).unique().partial(keyed)).await?;
        sessions.ensure_index(Index::on(doc! { "player_id": 1 })).await?;
        // The store removes an expired session some time later, so a look-up checks the expiry itself.
        sessions.ensure_index(Index::on(doc! { "expires_at": 1 }).ttl_s(0)).await?;
        Ok(Self { sessions, players, cache, config })
    }

    /// Opens a session for an authenticated player.
    pub async fn log_in(&self, player: &PlayerDocument, key: Option<&str>) -> Result<Opened, UserError> {
        // The command id contains the player's id, so keys of different players never collide.
        let command_id = key.map(|key| ids::command_id(&player.id, "user/log-in", key).to_string());
        // Two attempts: an expired session may block the first insert, and is then removed.
        for _ in 0..2 {
            let now_s = epoch_s(DateTime::now());
            let ends_at_s = now_s.saturating_add(i64::from(self.config.lifetime_s));
            let session = SessionDocument {
                id: Uuid::new_v4().to_string(),
                player_id: player.id.clone(),
                command_id: command_id.clone(),
                created_at: DateTime::now(),
                // Whole seconds, as in the answer, so that the session ends at the same time for every process.
                expires_at: DateTime::from_millis(ends_at_s.saturating_mul(1_000)),
            };
            match self.sessions.insert_one(&session).await {
                Ok(()) => {
                    self.put_in_cache(&session.id, &view(&session, player)).await;
                    return Ok(opened(session));
                }
                Err(StoreError::DuplicateKey { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let known = self.sessions.find_one(doc! { "command_id": command_id.as_deref() }).await?;
            match known {
                Some(known) if known.player_id != player.id => {
                    return Err(UserError::Corrupt("the log-ins of two players have the same command id"));
                }
                Some(known) if epoch_s(known.expires_at) > now_s => return Ok(opened(known)),
                Some(known) => {
                    self.sessions.delete_one(doc! { "_id": known.id }).await?;
                }
                None => {}
            }
        }
        Err(UserError::Busy)
    }

    /// Returns the session, unless it has ended or never existed. A failing cache is no error.
    pub async fn find(&self, session_id: &str) -> Result<Option<SessionView>, UserError> {
        let now_s = epoch_s(DateTime::now());
        match self.cached(session_id).await {
            Cached::Open(found) => return Ok((found.expires_at_epoch_s > now_s).then_some(found)),
            Cached::Ended => return Ok(None),
            Cached::Unknown => {}
        }
        let Some(session) = self.sessions.find_one(doc! { "_id": session_id }).await? else {
            return Ok(None);
        };
        let Some(player) = self.players.find(&session.player_id).await? else {
            return Err(UserError::Corrupt("the player of a session does not exist"));
        };
        let found = view(&session, &player);
        if found.expires_at_epoch_s <= now_s {
            return Ok(None);
        }
        self.put_in_cache(session_id, &found).await;
        Ok(Some(found))
    }

    /// Ends a session. After this, no replica finds it. Only while the cache is away can a replica still find it, for up to
    /// `sessions.cache_ttl_s`.
    pub async fn log_out(&self, session_id: &str) -> Result<(), UserError> {
        self.sessions.delete_one(doc! { "_id": session_id }).await?;
        // Marked instead of removed, because a look-up that read the session a moment ago would put it back.
        if let Err(error) = self.cache.put(&cache_key(session_id), ENDED, self.ttl_s()).await {
            tracing::warn!(error = %error, "an ended session could not be marked as ended in the cache");
        }
        Ok(())
    }

    /// Evicts a player's sessions from the cache. A look-up in flight may put the old state back until its TTL ends. The ledger
    /// enforces limits and exclusion regardless.
    pub async fn evict_player(&self, player_id: &str) {
        let of_player = doc! { "player_id": player_id };
        match self.sessions.find_readable(of_player, doc! { "_id": 1 }, EVICTED_SESSIONS_MAX).await {
            Ok(sessions) => {
                for session in sessions {
                    self.evict(&session.id).await;
                }
            }
            Err(error) => {
                tracing::warn!(player.id = player_id, error = %error, "the sessions of a player could not be evicted from the cache")
            }
        }
    }

    async fn cached(&self, session_id: &str) -> Cached {
        let bytes = match self.cache.get(&cache_key(session_id)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Cached::Unknown,
            Err(error) => {
                tracing::debug!(error = %error, "a session could not be read from the cache, reading it from the store");
                return Cached::Unknown;
            }
        };
        if bytes == ENDED {
            return Cached::Ended;
        }
        match serde_json::from_slice(&bytes) {
            Ok(found) => Cached::Open(found),
            Err(_) => {
                // An invalid value would block the correct one.
                self.evict(session_id).await;
                Cached::Unknown
            }
        }
    }

    fn ttl_s(&self) -> u64 {
        u64::from(self.config.cache_ttl_s)
    }

    /// Caches a session, but never replaces a value, which may be the mark of an ended session.
    async fn put_in_cache(&self, session_id: &str, found: &SessionView) {
        let Ok(bytes) = serde_json::to_vec(found) else { return };
        if let Err(error) = self.cache.put_if_absent(&cache_key(session_id), bytes, self.ttl_s()).await {
            tracing::debug!(error = %error, "a session could not be cached");
        }
    }

    async fn evict(&self, session_id: &str) {
        if let Err(error) = self.cache.remove(&cache_key(session_id)).await {
            tracing::warn!(error = %error, "a session could not be evicted from the cache");
        }
    }
}

fn epoch_s(at: DateTime) -> i64 {
    at.timestamp_millis().div_euclid(1_000)
}

fn cache_key(session_id: &str) -> String {
    format!("session:{}", hex::encode(Sha256::digest(session_id.as_bytes())))
}

fn view(session: &SessionDocument, player: &PlayerDocument) -> SessionView {
    SessionView {
        player_id: player.id.clone(),
        kyc_status: player.standing.kyc_status.clone(),
        self_excluded_until_epoch_ms: player.standing.self_excluded_until_epoch_ms,
        expires_at_epoch_s: epoch_s(session.expires_at),
    }
}

fn opened(session: SessionDocument) -> Opened {
    Opened {
        expires_at_epoch_s: epoch_s(session.expires_at),
        player_id: session.player_id,
        session_id: session.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::players::offline;

    #[tokio::test]
    async fn slow_look_up_does_not_restore_ended_session() {
        let mongo = Mongo::connect(&testkit::long_timeouts::mongo("sessions")).await.unwrap();
        let cache = Cache::new(&testkit::long_timeouts::redis()).unwrap();
        let config = config::Sessions { lifetime_s: 86_400, cache_ttl_s: 86_400 };
        let sessions = Sessions::open(&mongo, offline::players(&mongo).await, cache, config).await.unwrap();
        let found = SessionView {
            player_id: "p-1".to_owned(),
            kyc_status: "pending".to_owned(),
            self_excluded_until_epoch_ms: None,
            expires_at_epoch_s: epoch_s(DateTime::now()) + 86_400,
        };
        // A look-up caches a session after its end, having read it before.
        let [ended, open] = ["ended", "open"].map(testkit::unique);
        sessions.log_out(&ended).await.unwrap();
        for id in [&ended, &open] {
            sessions.put_in_cache(id, &found).await;
        }
        assert_eq!(sessions.find(&ended).await.unwrap(), None);
        assert_eq!(sessions.find(&open).await.unwrap(), Some(found), "the cached session is found");
        mongo.drop_database().await.unwrap();
    }
}
