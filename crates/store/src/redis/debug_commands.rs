//! Commands of debug faults: one that the cache refuses.

use contracts::debug::{DebugStore, StoreCall};
use deadpool_redis::redis;

use super::{Cache, finish, traced};

/// Key of a text, which no service uses.
const KEY: &str = "debug:text";
/// Time after which the text is gone.
const TTL_S: u64 = 60;

impl DebugStore for Cache {
    fn refused_operation(&self) -> &'static str {
        "LLEN"
    }

    fn fail(&self) -> StoreCall<'_, ()> {
        Box::pin(async move {
            self.put(KEY, "a text", TTL_S).await?;
            // A text is no list
            let span = telemetry::spans::cache_get(KEY);
            let answer = traced(&span, self.query::<i64>(redis::cmd("LLEN").arg(KEY))).await;
            finish(&span, answer)?;
            Ok(())
        })
    }

    /// The cache has no query that scans.
    fn query_slowly(&self) -> StoreCall<'_, Option<u64>> {
        Box::pin(async { Ok(None) })
    }
}
