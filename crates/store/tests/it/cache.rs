//! The cache: storage, counting windows, and quick failure while it is down.

use std::time::{Duration, Instant};

use contracts::DebugStore as _;
use store::redis::{Cache, CacheError, Config};

/// Returns a cache with long time-outs, because these tests are not about time-outs.
fn cache() -> Cache {
    Cache::new(&testkit::long_timeouts::redis()).expect("a Redis URL")
}

#[tokio::test]
async fn stored_value_is_returned_until_removed() {
    let cache = cache();
    let key = testkit::unique("store-cache");
    assert_eq!(cache.get(&key).await.unwrap(), None);
    cache.put(&key, b"value", 60).await.unwrap();
    assert_eq!(cache.get(&key).await.unwrap().as_deref(), Some(&b"value"[..]));
    assert!(!cache.put_if_absent(&key, b"other", 60).await.unwrap());
    cache.remove(&key).await.unwrap();
    assert!(cache.put_if_absent(&key, b"other", 60).await.unwrap());
    assert_eq!(cache.get(&key).await.unwrap().as_deref(), Some(&b"other"[..]));
}

#[tokio::test]
async fn command_of_debug_fault_is_refused_and_cache_still_answers() {
    let cache = cache();
    let error = cache.fail().await.unwrap_err();
    assert!(error.downcast_ref::<CacheError>().is_some(), "{error}");
    assert_eq!(cache.query_slowly().await.unwrap(), None, "there is no slow query");
    cache.ping().await.unwrap();
}

#[tokio::test]
async fn window_counts_concurrent_calls() {
    let cache = cache();
    let key = testkit::unique("store-window");
    let calls = (0..50).map(|_| cache.incr_window(&key, 60));
    let mut counts: Vec<u64> =
        futures::future::join_all(calls).await.into_iter().map(|count| count.unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn unresponsive_cache_fails_fast() {
    // A listener that never answers, which is worse than a refused connection.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cache = Cache::new(&Config::new(format!("redis://{}", silent.local_addr().unwrap()))).unwrap();
    let started = Instant::now();
    assert!(cache.get("k").await.is_err());
    assert!(cache.put("k", b"v", 1).await.is_err());
    // Without a time-out of its own, the first of them would never return
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(cache.failures(), 2);
}
