//! The Redis cache. Redis may lose all data at any time, so another store is authoritative. Every caller may ignore an error, and
//! no caller waits long for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::class::{Classify, ErrorClass};
use deadpool_redis::Runtime;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisError};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use telemetry::attributes;
use telemetry::metric::{self, Metric};
use telemetry::spans::Status;
use tracing::Instrument as _;

mod connections;
mod debug_commands;
use connections::{Connections, Lent, Pool};

/// Address and limits of the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `redis://[[user]:password@]host[:port][/database]`. One that cannot work is refused when it is read.
    #[serde(deserialize_with = "read_url")]
    pub url: String,
    /// Maximum number of connections. A connection carries one command at a time.
    #[serde(default = "pool_size_max")]
    pub pool_size_max: usize,
    /// Time-out of one access, including connecting. Short, because another store is authoritative.
    #[serde(default = "operation_timeout_ms")]
    pub operation_timeout_ms: u64,
}

/// Problem of a URL that cannot be used.
const URL_PROBLEM: &str = "is not a URL of Redis: expected redis://[[user]:password@]host[:port][/database]";
/// Problem of a user without a password. The client would not send the name, so it would act as the default user.
const PASSWORD_PROBLEM: &str = "names a user of Redis without a password";
/// Problem of a database that no server has.
const DATABASE_PROBLEM: &str = "names a database of Redis below 0";
/// Problem of an option that the client would ignore.
const OPTION_PROBLEM: &str = "has an option after `?` that the Redis client does not know";
/// Options of an address with a host.
const OPTIONS: &[&str] = &["protocol"];
/// Options of the path of a Unix socket, which has no other place for them.
const SOCKET_OPTIONS: &[&str] = &["db", "pass", "protocol", "user"];

/// Reads a URL. The error does not repeat it, because it may contain the password.
fn read_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    url_problem(&url).map_or(Ok(url), |problem| Err(D::Error::custom(problem)))
}

/// Says why no connection to this URL can be the one that its author wants. It repeats nothing of the URL.
fn url_problem(text: &str) -> Option<&'static str> {
    let (Some(url), Ok(info)) = (redis::parse_redis_url(text), text.into_connection_info()) else {
        return Some(URL_PROBLEM);
    };
    let options = if matches!(info.addr(), ConnectionAddr::Unix(_)) { SOCKET_OPTIONS } else { OPTIONS };
    let settings = info.redis_settings();
    if settings.username().is_some() && settings.password().is_none() {
        Some(PASSWORD_PROBLEM)
    } else if settings.db() < 0 {
        Some(DATABASE_PROBLEM)
    } else if url.query_pairs().any(|(option, _)| !options.contains(&option.as_ref())) {
        Some(OPTION_PROBLEM)
    } else {
        None
    }
}

const fn pool_size_max() -> usize {
    16
}

const fn operation_timeout_ms() -> u64 {
    250
}

impl Config {
    /// Returns the default limits for a server at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), pool_size_max: pool_size_max(), operation_timeout_ms: operation_timeout_ms() }
    }
}

/// The cache did not answer. This is never a reason to refuse a player.
#[derive(Debug, thiserror::Error)]
#[error("the cache did not answer: {reason}")]
pub struct CacheError {
    reason: String,
}

impl Classify for CacheError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// A pooled connection to the cache. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    pool: Pool,
    operation_timeout: Duration,
    failures: Arc<AtomicU64>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("failures", &self.failures()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Creates the pool without connecting, so that a service can start while Redis is down.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub fn new(config: &Config) -> Result<Self, CacheError> {
        let operation_timeout = Duration::from_millis(config.operation_timeout_ms);
        let connections = Connections::new(&config.url, operation_timeout).map_err(|e| kind_only(&e))?;
        let pool = Pool::builder(connections)
            .max_size(config.pool_size_max)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(operation_timeout))
            .create_timeout(Some(operation_timeout))
            .recycle_timeout(Some(operation_timeout))
            .build()
            .map_err(|e| CacheError { reason: e.to_string() })?;
        Ok(Self { pool, operation_timeout, failures: Arc::default() })
    }

    /// Returns the number of failed accesses since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the value under `key`, if there is one.
    ///
    /// # Errors
    /// When the cache does not answer. Read the authoritative store instead.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let span = telemetry::spans::cache_get(key);
        let answer: Result<Option<Vec<u8>>, _> = traced(&span, self.query(redis::cmd("GET").arg(key))).await;
        if let Ok(found) = &answer {
            telemetry::spans::set_attr(&span, attributes::CACHE_HIT, found.is_some());
            metric::count(Metric::CacheReads, 1, &[("hit", if found.is_some() { "true" } else { "false" })]);
            if let Some(bytes) = found {
                telemetry::spans::set_attr(
                    &span,
                    attributes::CACHE_ITEM_SIZE,
                    i64::try_from(bytes.len()).unwrap_or(i64::MAX),
                );
            }
        }
        finish(&span, answer)
    }

    /// Stores `value` under `key` for `ttl_s` seconds.
    pub async fn put(&self, key: &str, value: impl AsRef<[u8]>, ttl_s: u64) -> Result<(), CacheError> {
        let value = value.as_ref();
        let span = telemetry::spans::cache_put(key, value.len());
        telemetry::spans::set_attr(&span, attributes::CACHE_TTL, i64::try_from(ttl_s).unwrap_or(i64::MAX));
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("EX").arg(ttl_s.max(1));
        let answer = traced(&span, self.query::<()>(&command)).await;
        finish(&span, answer)
    }

    /// Stores `value` under `key` for `ttl_s` seconds, unless the key exists. Returns true if it was stored.
    pub async fn put_if_absent(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        ttl_s: u64,
    ) -> Result<bool, CacheError> {
        let value = value.as_ref();
        let span = telemetry::spans::cache_put(key, value.len());
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX").arg("EX").arg(ttl_s.max(1));
        let answer: Result<Option<String>, _> = traced(&span, self.query(&command)).await;
        finish(&span, answer).map(|reply| reply.is_some())
    }

    /// Removes `key`.
    pub async fn remove(&self, key: &str) -> Result<(), CacheError> {
        let span = telemetry::spans::cache_remove(key);
        let answer = traced(&span, self.query::<i64>(redis::cmd("DEL").arg(key))).await;
        finish(&span, answer).map(drop)
    }

    /// Increments the counter under `key` and returns it. The counter expires `window_s` seconds after its first increment. Used
    /// for rate limits, which are not cache accesses and so have no span.
    ///
    /// # Errors
    /// When the cache does not answer. A rate limit then allows the request.
    pub async fn incr_window(&self, key: &str, window_s: u64) -> Result<u64, CacheError> {
        let mut both = redis::pipe();
        both.atomic().cmd("INCR").arg(key).cmd("EXPIRE").arg(key).arg(window_s.max(1)).arg("NX").ignore();
        let mut lent = None;
        let call = async {
            let connection = self.lend(&mut lent).await?;
            both.query_async::<(u64,)>(connection).await.map_err(|e| kind_only(&e))
        };
        let answer = self.bounded(call).await;
        self.settle(lent, answer).map(|(count,)| count)
    }

    /// Checks that the cache answers.
    pub async fn ping(&self) -> Result<(), CacheError> {
        self.query::<String>(&redis::cmd("PING")).await.map(drop)
    }

    async fn query<R: FromRedisValue>(&self, command: &redis::Cmd) -> Result<R, CacheError> {
        let mut lent = None;
        let call = async {
            let connection = self.lend(&mut lent).await?;
            command.query_async::<R>(connection).await.map_err(|e| kind_only(&e))
        };
        let answer = self.bounded(call).await;
        self.settle(lent, answer)
    }

    /// Takes a connection for one command. It stays in `lent` until [`Cache::settle`].
    async fn lend<'l>(
        &self,
        lent: &'l mut Option<Lent>,
    ) -> Result<&'l mut MultiplexedConnection, CacheError> {
        let connection = self.pool.get().await.map_err(|e| CacheError { reason: e.to_string() })?;
        Ok(&mut **lent.insert(connection))
    }

    /// Returns a connection to the pool after its answer. After an error or a time-out it is closed, and the others are checked,
    /// because the next command might use one that is broken, too.
    fn settle<R>(&self, lent: Option<Lent>, answer: Result<R, CacheError>) -> Result<R, CacheError> {
        if answer.is_err() {
            self.pool.manager().distrust();
            drop(lent.map(Lent::take));
        }
        answer
    }

    async fn bounded<R>(&self, call: impl Future<Output = Result<R, CacheError>>) -> Result<R, CacheError> {
        let answer = match tokio::time::timeout(self.operation_timeout, call).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(CacheError {
                reason: format!("no answer within {} ms", self.operation_timeout.as_millis()),
            }),
        };
        if answer.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            metric::count(Metric::CacheErrors, 1, &[]);
        }
        answer
    }
}

/// Keeps only the kind of Redis' error, because its detail may quote the command.
fn kind_only(error: &RedisError) -> CacheError {
    CacheError { reason: format!("{:?}", error.kind()) }
}

/// Runs an access in its span. An access that is dropped midway is marked as cancelled.
async fn traced<R>(span: &tracing::Span, access: impl Future<Output = R>) -> R {
    let pending = telemetry::spans::unfinished(span);
    let answer = access.instrument(span.clone()).await;
    pending.finished();
    answer
}

fn finish<R>(span: &tracing::Span, answer: Result<R, CacheError>) -> Result<R, CacheError> {
    match &answer {
        Ok(_) => telemetry::spans::set_ok(span),
        Err(_) => telemetry::spans::set_error(span, Status::Unavailable),
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_urls_are_refused_unquoted() {
        let read = |url: &str| serde_json::from_value::<Config>(serde_json::json!({ "url": url }));
        for url in [
            "redis://127.0.0.1:8123",
            "redis://u:p@redis:8123/1",
            "redis://:password@h",
            "redis://h/2",
            "redis://h?protocol=resp3",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&user=u&pass=p&protocol=3",
            "unix:///run/redis.sock?user=u&pass=",
        ] {
            assert_eq!(read(url).map(|config| config.url).ok().as_deref(), Some(url));
        }
        for url in ["", "127.0.0.1:8123", "http://h", "redis://:hunter2@h:hunter2", "redis://h/hunter2"] {
            let error = read(url).expect_err(url).to_string();
            assert_eq!(error, URL_PROBLEM, "{url}");
        }
        for (url, problem) in [
            ("redis://hunter2@h", PASSWORD_PROBLEM),
            ("redis://hunter2:@h", PASSWORD_PROBLEM),
            ("unix:///run/redis.sock?user=hunter2", PASSWORD_PROBLEM),
            ("redis://:hunter2@h/-1", DATABASE_PROBLEM),
            ("unix:///run/redis.sock?pass=hunter2&db=-1", DATABASE_PROBLEM),
            ("redis://h?password=hunter2", OPTION_PROBLEM),
            ("redis://h/1?protocol=3&db=2", OPTION_PROBLEM),
            ("unix:///run/redis.sock?password=hunter2", OPTION_PROBLEM),
        ] {
            let error = read(url).expect_err(url).to_string();
            assert_eq!(error, problem, "{url}");
            assert!(!error.contains("hunter2"), "{url}");
        }
    }
}
