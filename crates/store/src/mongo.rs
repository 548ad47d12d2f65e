//! Documents: one client per process, majority and journalled writes, and sessions for reads that a decision depends on.

mod causal_time;
mod clock;
mod collection;
mod debug_queries;
pub mod describe;
mod index;
mod run;
mod scanned_rows;
mod uri;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::Client;
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use serde::{Deserialize, Serialize};

pub use causal_time::CausalTime;
pub use collection::{Batches, Collection, Inserted, ReadAt, Upserted};
pub use debug_queries::DebugQueries;
pub use index::Index;
pub use scanned_rows::{SLOW_MS, ScannedRows, SlowQuery};

use crate::StoreError;

/// Address and limits of the document store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Connection string, e.g. `mongodb://127.0.0.1:8122/?directConnection=true`. An invalid one is refused when it is read.
    #[serde(deserialize_with = "uri::read")]
    pub uri: String,
    /// Database of this service. No service reads another's.
    pub database: String,
    /// Maximum number of connections to the server. The wait for one counts towards the operation's time-out.
    #[serde(default = "defaults::pool_size_max")]
    pub pool_size_max: u32,
    /// Time-out for the selection of a usable server.
    #[serde(default = "defaults::server_selection_timeout_ms")]
    pub server_selection_timeout_ms: u64,
    /// Time-out for opening one connection.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time-out of one operation as a whole. Afterwards the outcome of a write is unknown.
    #[serde(default = "defaults::operation_timeout_ms")]
    pub operation_timeout_ms: u64,
}

impl Config {
    /// Returns the default limits for a server at `uri`.
    #[must_use]
    pub fn new(uri: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            database: database.into(),
            pool_size_max: defaults::pool_size_max(),
            server_selection_timeout_ms: defaults::server_selection_timeout_ms(),
            connect_timeout_ms: defaults::connect_timeout_ms(),
            operation_timeout_ms: defaults::operation_timeout_ms(),
        }
    }
}

mod defaults {
    pub(super) const fn pool_size_max() -> u32 {
        32
    }
    pub(super) const fn server_selection_timeout_ms() -> u64 {
        5_000
    }
    pub(super) const fn connect_timeout_ms() -> u64 {
        2_000
    }
    pub(super) const fn operation_timeout_ms() -> u64 {
        10_000
    }
}

/// A connected document store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mongo {
    client: Client,
    database: mongodb::Database,
    context: Arc<run::Context>,
}

impl Mongo {
    /// Connects and waits until the server answers a ping, within the bounds of `config`.
    ///
    /// # Errors
    /// `Fatal` for an invalid connection string, `Transient` when the server does not answer.
    pub async fn connect(config: &Config) -> Result<Self, StoreError> {
        let mongo = Self::open(config).await?;
        mongo.ping().await?;
        Ok(mongo)
    }

    /// Like [`Mongo::connect`], without waiting for the server: it connects on first use.
    ///
    /// # Errors
    /// `Fatal` for an invalid connection string.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        opened(config).await
    }

    /// Checks that the server answers (for readiness), and reads its clock. It has no span, because no request waits for it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.pinged().await
    }

    // No `async fn`, so that the driver's code is compiled in this crate only (see `collection::raw`).
    fn pinged(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let sent_at_ms = self.context.clock.local_ms();
            let hello = async { self.database.run_command(bson::doc! { "hello": 1 }).await };
            let answer = self.context.bounded("-", hello).await?;
            if let Ok(server_time) = answer.get_datetime("localTime") {
                self.context.clock.update(sent_at_ms, *server_time);
            }
            Ok(())
        })
    }

    /// Reports an unreadable document once per process. Any other error is left to the caller.
    pub fn report_once(&self, error: &StoreError) {
        self.context.report_once(error);
    }

    /// Returns the server's time, as of the latest [`Mongo::ping`]. Sweepers' timestamps are written and compared with it, so a
    /// process with a wrong clock delays or hastens nothing. Differences below one second are ignored.
    #[must_use]
    pub fn now(&self) -> bson::DateTime {
        self.context.clock.now()
    }

    /// Simulates a clock that is wrong by `ms`, until the next [`Mongo::ping`]. For tests.
    #[must_use]
    pub fn with_clock_off_by(self, ms: i64) -> Self {
        let context = run::Context {
            namespace: self.context.namespace.clone(),
            operation_timeout_ms: self.context.operation_timeout_ms,
            clock: clock::Clock::off_by(ms),
            reported: Mutex::default(),
        };
        Self { context: Arc::new(context), ..self }
    }

    /// Returns a collection of this service's database with documents of type `T`. Reads are majority reads, writes majority and
    /// journalled.
    #[must_use]
    pub fn collection<T: Send + Sync>(&self, name: &'static str) -> Collection<T> {
        let options = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        Collection::new(self.database.collection_with_options(name, options), name, self.clone())
    }

    /// Starts a session in which every read sees at least what earlier reads and writes of the same session saw.
    ///
    /// # Errors
    /// `Fatal` when the server does not support sessions, `Transient` when it cannot be reached.
    pub async fn causal_session(&self) -> Result<Session, StoreError> {
        self.started_session().await
    }

    fn started_session(&self) -> BoxFuture<'_, Result<Session, StoreError>> {
        Box::pin(async move {
            let start = async { self.client.start_session().causal_consistency(true).await };
            self.context.bounded("-", start).await.map(|inner| Session { inner })
        })
    }

    /// Deletes the database with all its data (tests, `down --volumes`).
    pub async fn drop_database(&self) -> Result<(), StoreError> {
        self.context.bounded("-", async { self.database.drop().await }).await
    }

    pub(crate) fn database(&self) -> &mongodb::Database {
        &self.database
    }

    pub(crate) fn context(&self) -> &run::Context {
        &self.context
    }
}

/// [`Mongo::open`]. It is no `async fn`, so that the driver's code is compiled in this crate only (see `collection::raw`).
fn opened(config: &Config) -> BoxFuture<'_, Result<Mongo, StoreError>> {
    Box::pin(async move {
        let mut options =
            ClientOptions::parse(&config.uri).await.map_err(|e| StoreError::from_driver("-", &e))?;
        options.max_pool_size = Some(config.pool_size_max);
        options.server_selection_timeout = Some(Duration::from_millis(config.server_selection_timeout_ms));
        options.connect_timeout = Some(Duration::from_millis(config.connect_timeout_ms));
        options.max_connecting = Some(4);
        let client = Client::with_options(options).map_err(|e| StoreError::from_driver("-", &e))?;
        let database = client.database(&config.database);
        let context = run::Context {
            namespace: config.database.clone(),
            operation_timeout_ms: config.operation_timeout_ms,
            clock: clock::Clock::default(),
            reported: Mutex::default(),
        };
        Ok(Mongo { client, database, context: Arc::new(context) })
    })
}

/// A causally consistent session, see [`Mongo::causal_session`]. Used by one task at a time.
#[derive(Debug)]
pub struct Session {
    pub(crate) inner: mongodb::ClientSession,
}

impl Session {
    /// Returns the point in the store's history up to which this session has seen it.
    #[must_use]
    pub fn time(&self) -> CausalTime {
        CausalTime::of(&self.inner)
    }
}
