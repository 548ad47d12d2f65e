//! Sessions: the document store has the truth, the cache answers for it, and losing the cache loses nothing.
//!
//! The promises: a session that has ended stays ended, also for a look-up that began before and comes to the cache after; its
//! id, which is as good as the session, stands in no key of the cache and so in no span.

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

/// Most sessions of one player whose cached form is forgotten after a change; others last as long as the cache keeps them.
const SESSIONS_FORGOTTEN_MAX: u32 = 64;
/// What the cache holds for a session that was ended.
const ENDED: &[u8] = b"ended";

/// `user.sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SessionDocument {
    #[serde(rename = "_id")]
    id: String,
    player_id: String,
    /// The request that opened it, where it came with a key: the same request again is the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_id: Option<String>,
    created_at: DateTime,
    expires_at: DateTime,
}

/// A session that has just been opened, or opened before by the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Whose.
    pub player_id: String,
    /// Its id: 122 random bits.
    pub session_id: String,
    /// When it ends.
    pub expires_at_epoch_s: i64,
}

/// What the gateway wants to know of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionView {
    /// Whose.
    pub player_id: String,
    /// `pending`, `verified` or `rejected`.
    pub kyc_status: String,
    /// Until when the player has excluded themselves.
    pub self_excluded_until_epoch_ms: Option<i64>,
    /// When it ends.
    pub expires_at_epoch_s: i64,
}

/// What the cache says of a session.
enum Cached {
    Stands(SessionView),
    Ended,
    /// Nothing, or nothing that can be believed: the store knows.
    Unknown,
}

/// The sessions; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    sessions: Collection<SessionDocument>,
    players: Players,
    cache: Cache,
    config: config::Sessions,
}

impl Sessions {
    /// Makes sure of the indexes.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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
        // Removed by the store some time after the end; a look-up checks the end itself.
        sessions.ensure_index(Index::on(doc! { "expires_at": 1 }).ttl_s(0)).await?;
        Ok(Self { sessions, players, cache, config })
    }

    /// Opens a session for a player who has just proved who they are.
    ///
    /// # Errors
    /// A failing store.
    pub async fn log_in(&self, player: &PlayerDocument, key: Option<&str>) -> Result<Opened, UserError> {
        // The key is the player's own: nobody else's can be in its way.
        let command_id = key.map(|key| ids::command_id(&player.id, "user/log-in", key).to_string());
        // Twice: what stands in the way of the first insert may have expired, and is then removed.
        for _ in 0..2 {
            let now_s = epoch_s(DateTime::now());
            let ends_at_s = now_s.saturating_add(i64::from(self.config.lifetime_s));
            let session = SessionDocument {
                id: Uuid::new_v4().to_string(),
                player_id: player.id.clone(),
                command_id: command_id.clone(),
                created_at: DateTime::now(),
                // Whole seconds, as everybody is told: the end is the same for all who look at it.
                expires_at: DateTime::from_millis(ends_at_s.saturating_mul(1_000)),
            };
            match self.sessions.insert_one(&session).await {
                Ok(()) => {
                    self.keep(&session.id, &view(&session, player)).await;
                    return Ok(opened(session));
                }
                Err(StoreError::DuplicateKey { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let known = self.sessions.find_one(doc! { "command_id": command_id.as_deref() }).await?;
            match known {
                Some(known) if known.player_id != player.id => {
                    return Err(UserError::Corrupt("two players' log-ins have one id"));
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

    /// The session, unless it has ended or never was.
    ///
    /// # Errors
    /// When the store fails; a failing cache is no reason.
    pub async fn find(&self, session_id: &str) -> Result<Option<SessionView>, UserError> {
        let now_s = epoch_s(DateTime::now());
        match self.cached(session_id).await {
            Cached::Stands(found) => return Ok((found.expires_at_epoch_s > now_s).then_some(found)),
            Cached::Ended => return Ok(None),
            Cached::Unknown => {}
        }
        let Some(session) = self.sessions.find_one(doc! { "_id": session_id }).await? else {
            return Ok(None);
        };
        let Some(player) = self.players.find(&session.player_id).await? else {
            return Err(UserError::Corrupt("a session belongs to no player"));
        };
        let found = view(&session, &player);
        if found.expires_at_epoch_s <= now_s {
            return Ok(None);
        }
        self.keep(session_id, &found).await;
        Ok(Some(found))
    }

    /// Ends a session. Once this has returned, no look-up of any replica finds it; while the cache is away, some may for as
    /// long as the cache keeps what it knows (`sessions.cache_ttl_s`).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_out(&self, session_id: &str) -> Result<(), UserError> {
        self.sessions.delete_one(doc! { "_id": session_id }).await?;
        // Not only forgotten: a look-up that read the session a moment ago would put it back.
        if let Err(error) = self.cache.put(&cache_key(session_id), ENDED, self.ttl_s()).await {
            tracing::warn!(error = %error, "an ended session may stay in the cache");
        }
        Ok(())
    }

    /// Makes the cache forget what it says about a player. A look-up that is under way may put the old answer back; it
    /// lasts as long as the cache keeps it, and what matters is enforced by the ledger.
    pub async fn player_changed(&self, player_id: &str) {
        let of_player = doc! { "player_id": player_id };
        match self.sessions.find_readable(of_player, doc! { "_id": 1 }, SESSIONS_FORGOTTEN_MAX).await {
            Ok(sessions) => {
                for session in sessions {
                    self.forget(&session.id).await;
                }
            }
            Err(error) => tracing::warn!(player.id = player_id, error = %error, "sessions stay in the cache"),
        }
    }

    async fn cached(&self, session_id: &str) -> Cached {
        let bytes = match self.cache.get(&cache_key(session_id)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Cached::Unknown,
            Err(error) => {
                tracing::debug!(error = %error, "a session is read past the cache");
                return Cached::Unknown;
            }
        };
        if bytes == ENDED {
            return Cached::Ended;
        }
        match serde_json::from_slice(&bytes) {
            Ok(found) => Cached::Stands(found),
            Err(_) => {
                // Rubbish would be in the way of the truth.
                self.forget(session_id).await;
                Cached::Unknown
            }
        }
    }

    fn ttl_s(&self) -> u64 {
        u64::from(self.config.cache_ttl_s)
    }

    /// Never over what is there: that may say that the session has ended.
    async fn keep(&self, session_id: &str, found: &SessionView) {
        let Ok(bytes) = serde_json::to_vec(found) else { return };
        if let Err(error) = self.cache.put_if_absent(&cache_key(session_id), bytes, self.ttl_s()).await {
            tracing::debug!(error = %error, "a session is not cached");
        }
    }

    async fn forget(&self, session_id: &str) {
        if let Err(error) = self.cache.remove(&cache_key(session_id)).await {
            tracing::warn!(error = %error, "a session stays in the cache");
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
    use crate::players::alone;

    #[tokio::test]
    async fn a_slow_look_up_does_not_bring_an_ended_session_back() {
        let mongo = Mongo::connect(&testkit::patient::mongo("sessions")).await.unwrap();
        let cache = Cache::new(&testkit::patient::redis()).unwrap();
        let config = config::Sessions { lifetime_s: 86_400, cache_ttl_s: 86_400 };
        let sessions = Sessions::open(&mongo, alone::players(&mongo).await, cache, config).await.unwrap();
        let found = SessionView {
            player_id: "p-1".to_owned(),
            kyc_status: "pending".to_owned(),
            self_excluded_until_epoch_ms: None,
            expires_at_epoch_s: epoch_s(DateTime::now()) + 86_400,
        };
        // What a look-up read before the session ended, it keeps after.
        let [ended, stands] = ["ended", "stands"].map(testkit::unique);
        sessions.log_out(&ended).await.unwrap();
        for id in [&ended, &stands] {
            sessions.keep(id, &found).await;
        }
        assert_eq!(sessions.find(&ended).await.unwrap(), None);
        assert_eq!(sessions.find(&stands).await.unwrap(), Some(found), "what is kept is found");
        mongo.drop_database().await.unwrap();
    }
}
