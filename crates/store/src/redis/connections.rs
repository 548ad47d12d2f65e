//! Connections to the cache, and when one is checked before it is used again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleResult};
use deadpool_redis::Manager;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, RedisError};

/// Time since its last use for which a connection counts as open. The check of an older one is a round trip, as the command itself
/// is.
const UNCHECKED: Duration = Duration::from_secs(1);

pub(super) type Pool = managed::Pool<Connections>;

/// A connection that is lent to one command.
pub(super) type Lent = managed::Object<Connections>;

/// Opens connections, and checks those that were not used lately. So whoever sees an error on one must not return it to the pool, and
/// calls [`Connections::distrust`].
pub(super) struct Connections {
    manager: Manager,
    /// Time of the last error.
    failed: Mutex<Option<Instant>>,
}

impl Connections {
    /// Prepares connections to the server at this URL, without connecting.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, RedisError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let manager = Manager::new_with_config(url, settings)?;
        Ok(Self { manager, failed: Mutex::default() })
    }

    /// Lets each connection be checked before its next use, since what broke one may have broken the others: after a restart of
    /// Redis, only the first command fails.
    pub(super) fn distrust(&self) {
        *self.failed() = Some(Instant::now());
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        // An instant is consistent, whatever panicked
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl managed::Manager for Connections {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.manager.create().await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        let used = metrics.recycled.unwrap_or(metrics.created);
        let is_trusted = self.failed().is_none_or(|failed| used > failed);
        if is_trusted && used.elapsed() < UNCHECKED {
            return Ok(());
        }
        self.manager.recycle(connection, metrics).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;

    use deadpool::managed::Manager as _;

    use super::*;
    use crate::redis::{Cache, Config};

    /// A stand-in for Redis that notes the names of its commands. It closes all connections instead of answering `GET restart`.
    #[derive(Clone, Default)]
    struct Server {
        commands: Arc<Mutex<Vec<String>>>,
        connections: Arc<Mutex<Vec<TcpStream>>>,
    }

    impl Server {
        /// Starts the server and returns it with its URL.
        fn start() -> (Self, String) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("redis://{}", listener.local_addr().unwrap());
            let server = Self::default();
            let accepting = server.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (server, stream) = (accepting.clone(), stream.unwrap());
                    server.connections.lock().unwrap().push(stream.try_clone().unwrap());
                    std::thread::spawn(move || server.serve(stream));
                }
            });
            (server, url)
        }

        /// Reads commands, each of which is `*` with the number of words, and for each word a line with its length and itself.
        fn serve(&self, stream: TcpStream) {
            let mut answers = stream.try_clone().unwrap();
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            while let Some(head) = lines.next() {
                let count: usize = head.trim_start_matches('*').parse().unwrap();
                let words = lines.by_ref().take(count.saturating_mul(2)).skip(1).step_by(2);
                let words: Vec<String> = words.collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let answer = match words.as_slice() {
                    ["GET", "restart"] => return self.close_all(&answers),
                    ["GET", _] => "$-1\r\n".to_owned(),
                    ["PING", number] => format!("${}\r\n{number}\r\n", number.len()),
                    _ => "+OK\r\n".to_owned(),
                };
                self.commands.lock().unwrap().extend(words.first().map(|name| (*name).to_owned()));
                answers.write_all(answer.as_bytes()).unwrap();
            }
        }

        /// The connection of the command is the last, so the others are closed when the client sees it.
        fn close_all(&self, of_command: &TcpStream) {
            let mut connections = std::mem::take(&mut *self.connections.lock().unwrap());
            let client = of_command.peer_addr().unwrap();
            connections.sort_by_key(|connection| connection.peer_addr().unwrap() == client);
            for connection in connections {
                connection.shutdown(Shutdown::Both).unwrap();
            }
        }

        fn count(&self, name: &str) -> usize {
            self.commands.lock().unwrap().iter().filter(|command| *command == name).count()
        }
    }

    #[tokio::test]
    async fn only_unused_connection_is_checked() {
        let (server, url) = Server::start();
        let connections = Connections::new(&url, Duration::from_secs(60)).unwrap();
        let mut connection = connections.create().await.unwrap();
        let now = Instant::now();
        // A use in the future is a recent one, however long this test takes
        let recently = now.checked_add(Duration::from_secs(3_600)).unwrap();
        let earlier = now.checked_sub(UNCHECKED).unwrap();
        for (used, checks) in [(recently, 0), (earlier, 1)] {
            let metrics = Metrics { recycled: Some(used), ..Metrics::default() };
            connections.recycle(&mut connection, &metrics).await.unwrap();
            assert_eq!(server.count("PING"), checks);
        }
    }

    #[tokio::test]
    async fn restart_fails_one_command() {
        let (server, url) = Server::start();
        let cache = Cache::new(&Config { operation_timeout_ms: 60_000, ..Config::new(url) }).unwrap();
        // Three connections, because each is lent while the next is opened
        let (first, second, third) = tokio::join!(cache.get("k"), cache.get("k"), cache.get("k"));
        assert!([first, second, third].iter().all(Result::is_ok));
        assert_eq!(server.connections.lock().unwrap().len(), 3);
        assert!(cache.get("restart").await.is_err());
        for _ in 0..3 {
            assert_eq!(cache.get("k").await.unwrap(), None, "a closed connection was lent");
        }
        assert_eq!((cache.failures(), server.count("GET")), (1, 6));
    }
}
