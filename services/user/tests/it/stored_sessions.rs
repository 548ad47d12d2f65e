//! Stored sessions that are unusual: an oversized id, marked as ended, or damaged.

use reqwest::Method;
use serde_json::json;
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::Mongo;
use store::redis::Cache;
use user::error::UserError;
use user::sessions::Sessions;

use crate::attempts::replica;
use crate::platform::{Platform, config};
use crate::sessions::{cache_key, log_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_session_id_is_not_found() {
    let platform = Platform::start().await;
    let id = platform.player("ada").await;
    let ends_at = DateTime::from_millis(DateTime::now().timestamp_millis() + 86_400_000);
    for (bytes, expected) in [(64, 200), (65, 404)] {
        let session = "x".repeat(bytes);
        let stored = doc! { "_id": &session, "player_id": &id, "created_at": ends_at, "expires_at": ends_at };
        platform.mongo.collection::<Document>("sessions").insert_one(&stored).await.expect("stored");
        let (status, answer) = platform.session_request(Method::GET, &session).await;
        assert_eq!(status, expected, "{bytes} bytes: {answer}");
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_marked_as_ended_is_not_found() {
    let platform = Platform::start().await;
    platform.player("ada").await;
    let (session, _) = log_in(&platform, "ada", "log-in-1").await;
    let cache = Cache::new(&platform.config.redis).expect("a URL");
    let key = cache_key(&session);
    cache.put(&key, "ended", 86_400).await.expect("the cache");
    assert_eq!(platform.session_request(Method::GET, &session).await.0, 404);
    cache.remove(&key).await.expect("the cache");
    assert_eq!(platform.session_request(Method::GET, &session).await.0, 200, "only the mark ended it");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_session_does_not_block_eviction() {
    let platform = Platform::start().await;
    let id = platform.player("ada").await;
    let (session, _) = log_in(&platform, "ada", "log-in-1").await;
    let damaged = doc! { "_id": "damaged", "player_id": &id, "created_at": "never" };
    platform.mongo.collection::<Document>("sessions").insert_one(&damaged).await.expect("stored");
    let verified = json!({ "status": "verified" });
    let changed = platform.change("PUT", &format!("/players/{id}/kyc-status"), "kyc-1", verified).await;
    assert_eq!(changed.0, 200, "{}", changed.1);
    let (_, found) = platform.session_request(Method::GET, &session).await;
    assert_eq!(found["kyc_status"], json!("verified"), "the cached session was evicted");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_session_error_hides_id() {
    let config = config();
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let (players, _) = replica(&config).await;
    let cache = Cache::new(&config.redis).expect("a URL");
    let sessions = Sessions::open(&mongo, players, cache, config.sessions).await.expect("indexes");
    let id = testkit::unique("secret");
    let damaged = doc! { "_id": &id, "player_id": "p-1", "created_at": "never" };
    mongo.collection::<Document>("sessions").insert_one(&damaged).await.expect("stored");
    let error = sessions.find(&id).await.expect_err("unreadable");
    assert!(matches!(error, UserError::Store(StoreError::Unreadable { .. })), "{error:?}");
    assert!(!format!("{error:?} {error}").contains(&id), "{error:?}");
    mongo.drop_database().await.expect("dropped");
}
