//! The cache: storage, counting windows, and quick failure while it is down.

use std::time::{Duration, Instant};

use store::redis::{Cache, Config};

/// Returns a cache with long time-outs, because these tests are not about time-outs.
fn cache() -> Cache {
    Cache::new(&testkit::patient::redis()).expect("a Redis URL")
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_removed() {
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
async fn a_window_counts_every_call_once_also_from_many_tasks() {
    let cache = cache();
    let key = testkit::unique("store-window");
    let calls = (0..50).map(|_| cache.incr_window(&key, 60));
    let mut counts: Vec<u64> =
        futures::future::join_all(calls).await.into_iter().map(|count| count.unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_dead_cache_is_a_quick_counted_error() {
    // A listener that never answers, which is worse than a refused connection.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cache = Cache::new(&Config::new(format!("redis://{}", deaf.local_addr().unwrap()))).unwrap();
    let started = Instant::now();
    assert!(cache.get("k").await.is_err());
    assert!(cache.put("k", b"v", 1).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(cache.failures(), 2);
}
