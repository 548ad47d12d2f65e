//! Sessions: opened only by the right password, found with and without the cache, and ended in time.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::redis::Cache;

use crate::platform::{Platform, TIMEOUT, config};

fn credentials(name: &str) -> Value {
    json!({ "email": format!("{name}@players.example"), "password": format!("password of {name}") })
}

/// Cache key of a session. It does not contain the id, because keys appear in spans.
pub(crate) fn cache_key(session: &str) -> String {
    format!("session:{}", hex::encode(Sha256::digest(session)))
}

pub(crate) async fn log_in(platform: &Platform, name: &str, key: &str) -> (String, Value) {
    let (status, opened) = platform.send("POST", "/sessions", key, Some(credentials(name))).await;
    assert_eq!(status, 201, "{opened}");
    (opened["session_id"].as_str().expect("a session id").to_owned(), opened)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_is_found_with_and_without_cache() {
    let platform = Platform::start().await;
    let id = platform.player("ada").await;
    let (session, opened) = log_in(&platform, "ada", "log-in-1").await;
    assert_eq!(opened["player_id"], json!(id));
    assert_eq!(log_in(&platform, "ada", "log-in-1").await.1, opened, "the same key is the same session");
    assert_ne!(log_in(&platform, "ada", "log-in-2").await.0, session);
    assert_ne!(log_in(&platform, "ada", "").await.0, session);

    let look_up = async || platform.session_request(Method::GET, &session).await;
    let (status, cached) = look_up().await;
    assert_eq!((status, &cached["player_id"], &cached["kyc_status"]), (200, &json!(id), &json!("pending")));

    let cache = Cache::new(&platform.config.redis).unwrap();
    let key = cache_key(&session);
    assert!(cache.get(&key).await.unwrap().is_some(), "log-in fills the cache");
    cache.remove(&key).await.unwrap();
    assert_eq!(look_up().await, (200, cached.clone()), "the store has it");
    assert!(cache.get(&key).await.unwrap().is_some(), "a look-up fills the cache");
    cache.put(&key, "not a session", 60).await.unwrap();
    assert_eq!(look_up().await, (200, cached.clone()), "an invalid cache value is ignored");
    let kept = cache.get(&key).await.unwrap().expect("a look-up fills the cache");
    assert_eq!(serde_json::from_slice::<Value>(&kept).ok(), Some(cached.clone()), "it is replaced");

    let status = json!({ "status": "verified" });
    platform.change("PUT", &format!("/players/{id}/kyc-status"), "kyc-1", status).await;
    assert_eq!(look_up().await.1["kyc_status"], json!("verified"), "a change shows at once");

    for _ in 0..2 {
        assert_eq!(platform.session_request(Method::DELETE, &session).await.0, 204, "also twice");
        assert_eq!(look_up().await.0, 404);
    }
    let view = serde_json::to_vec(&cached).unwrap();
    assert!(!cache.put_if_absent(&key, view, 60).await.unwrap(), "marked as ended");
    for unknown in ["00000000-0000-0000-0000-000000000000", ""] {
        assert_eq!(platform.session_request(Method::GET, unknown).await.0, 404, "{unknown:?}");
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_open_no_session() {
    let platform = Platform::start().await;
    platform.player("ada").await;
    platform.player("eve").await;
    for (email, password) in
        [("ada@players.example", "password of eve"), ("unknown@players.example", "password of ada")]
    {
        let body = json!({ "email": email, "password": password });
        let (status, problem) = platform.send("POST", "/sessions", "k", Some(body)).await;
        assert_eq!((status, &problem["type"]), (401, &json!("/problems/unauthorized")), "{email}");
    }
    let ada = log_in(&platform, "ada", "shared").await.0;
    let eve = log_in(&platform, "eve", "shared").await.0;
    assert_ne!(ada, eve, "the same key of two players is two keys");
    assert_eq!(log_in(&platform, "ada", "shared").await.0, ada);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_session_expires_and_key_opens_another() {
    let mut short = config();
    short.sessions.lifetime_s = 1;
    let platform = Platform::start_with(short).await;
    platform.player("ada").await;
    let (session, _) = log_in(&platform, "ada", "log-in-1").await;
    testkit::eventually("the session to end", TIMEOUT, || async {
        (platform.session_request(Method::GET, &session).await.0 == 404).then_some(())
    })
    .await;
    assert_ne!(log_in(&platform, "ada", "log-in-1").await.0, session);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_work_without_redis() {
    let mut without = config();
    // A port without a listener.
    without.redis = store::redis::Config::new("redis://127.0.0.1:1");
    let platform = Platform::start_with(without).await;
    let id = platform.player("ada").await;
    let (session, _) = log_in(&platform, "ada", "log-in-1").await;
    let (status, found) = platform.session_request(Method::GET, &session).await;
    assert_eq!((status, &found["player_id"]), (200, &json!(id)));
    assert_eq!(platform.session_request(Method::DELETE, &session).await.0, 204);
    assert_eq!(platform.session_request(Method::GET, &session).await.0, 404);
    platform.stop().await;
}
