//! The documents of a bet. The platform writes six times for a bet, so there are six collections with one document each. A chain
//! that stands for one consumer of the platform writes to fewer.
//!
//! The documents of a batch go to a collection in one command, or those of a bet one after the other ([`crate::Order`]).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mongodb::bson::DateTime;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Acknowledgment, ClientOptions, DatabaseOptions, WriteConcern};
use mongodb::{Client, Collection, Database};
use serde::Serialize;
use tokio::time::timeout;

use crate::accounts::Accounts;
use crate::{Bet, ChainError, Settings};

/// Collections that have a document of each bet.
///
/// The first four stand for the writes of the platform before it answers: the bet,
/// the account, the row of the ledger, and the end of the bet. The other two stand for the player's history and the fact.
pub const COLLECTIONS: [&str; 6] = ["bets", "accounts", "ledger", "endings", "history", "facts"];
/// Name of the collection of accounts.
pub(crate) const ACCOUNTS: &str = COLLECTIONS[1];
/// Number of collections that can be written before the outcome is published.
pub(crate) const WRITES_BEFORE_ANSWER_MAX: u8 = 4;
/// Number of collections that can be written beside it: the others.
pub(crate) const WRITES_AFTER_ANSWER_MAX: u8 = 2;

/// Time limit of an operation.
const OPERATION_DEADLINE: Duration = Duration::from_secs(60);
/// Code of the store for a key that exists.
const DUPLICATE_KEY: i32 = 11_000;

/// Document of a bet. It is the same in each collection.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    #[serde(rename = "_id")]
    bet_id: String,
    player_id: String,
    game: String,
    stake_minor: i64,
    currency: String,
    state: String,
    at: DateTime,
}

/// The database of a run.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    database: Database,
    accounts: Arc<Accounts>,
    before_answer: Vec<Collection<Row>>,
    after_answer: Vec<Collection<Row>>,
}

impl Row {
    /// The document of a bet that is settled now.
    pub(crate) fn of(bet: &Bet, at: DateTime) -> Self {
        Self {
            bet_id: bet.bet_id.to_string(),
            player_id: bet.player_id.clone(),
            game: bet.game.clone(),
            stake_minor: bet.stake_minor,
            currency: bet.currency.clone(),
            state: "settled".to_owned(),
            at,
        }
    }

    /// The player of the bet, and its stake.
    pub(crate) fn stake(&self) -> (&str, i64) {
        (&self.player_id, self.stake_minor)
    }
}

impl Rows {
    /// Opens the database. It connects on first use, with the limits and the write concern of `crates/store/src/mongo.rs`. The
    /// address may name other time-outs.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, ChainError> {
        let options = ClientOptions::parse(&settings.mongo).await;
        let mut options = options.map_err(ChainError::store("reading the store's address"))?;
        options.max_pool_size = Some(32);
        options.max_connecting = Some(4);
        let selection_timeout = options.server_selection_timeout.unwrap_or(Duration::from_secs(5));
        options.server_selection_timeout = Some(selection_timeout);
        let connect_timeout = options.connect_timeout.unwrap_or(Duration::from_secs(2));
        options.connect_timeout = Some(connect_timeout);
        let client = Client::with_options(options).map_err(ChainError::store("opening the store"))?;
        let durable = DatabaseOptions::builder()
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
            .build();
        let database = client.database_with_options(&settings.name, durable);
        let (before, after) = COLLECTIONS.split_at(usize::from(WRITES_BEFORE_ANSWER_MAX));
        let open = |names: &[&str], writes: u8| -> Vec<Collection<Row>> {
            let written = names.iter().take(usize::from(writes));
            written.map(|name| database.collection::<Row>(name)).collect()
        };
        Ok(Self {
            accounts: Arc::new(Accounts::of(&database)),
            before_answer: open(before, settings.writes_before_answer),
            after_answer: open(after, settings.writes_after_answer),
            database,
        })
    }

    /// Writes what has to be durable before the bets are answered.
    pub(crate) async fn write_before_answer(&self, rows: &[Row]) -> Result<(), ChainError> {
        write(&self.before_answer, rows).await
    }

    /// Writes what has to be durable before this bet is answered, one document after the other. The first of several is the account.
    pub(crate) async fn write_in_order(&self, row: &Row) -> Result<(), ChainError> {
        if self.before_answer.len() > 1 {
            self.accounts.add(row).await?;
        }
        for collection in self.before_answer.iter().filter(|collection| collection.name() != ACCOUNTS) {
            write(std::slice::from_ref(collection), std::slice::from_ref(row)).await?;
        }
        Ok(())
    }

    /// Writes the rest.
    pub(crate) async fn write_after_answer(&self, rows: &[Row]) -> Result<(), ChainError> {
        write(&self.after_answer, rows).await
    }

    /// Deletes the database with all its data.
    pub(crate) async fn drop_database(&self) -> Result<(), ChainError> {
        in_time("deleting the database", async { self.database.drop().await }).await
    }
}

/// Runs an operation within its time limit.
pub(crate) async fn in_time<R>(
    doing: &'static str,
    operation: impl Future<Output = Result<R, Error>>,
) -> Result<R, ChainError> {
    let done = timeout(OPERATION_DEADLINE, operation).await;
    done.map_err(|_late| ChainError::TimedOut { doing })?.map_err(ChainError::store(doing))
}

/// Writes all rows to each collection, with one command for each, at the same time. A command that fails does not leave others in
/// flight.
async fn write(collections: &[Collection<Row>], rows: &[Row]) -> Result<(), ChainError> {
    let doing = "writing the bets";
    let commands = collections.iter().map(|collection| async move {
        match collection.insert_many(rows).ordered(false).await {
            // A record that comes a second time has been written.
            Err(error) if !is_known(&error) => Err(ChainError::store(doing)(error)),
            _ => Ok(()),
        }
    });
    let written = timeout(OPERATION_DEADLINE, join_all(commands)).await;
    written.map_err(|_late| ChainError::TimedOut { doing })?.into_iter().collect()
}

/// Returns true if all documents are durable and some of them were there before.
fn is_known(error: &Error) -> bool {
    let ErrorKind::InsertMany(failure) = error.kind.as_ref() else { return false };
    let refused = failure.write_errors.as_deref().unwrap_or_default();
    failure.write_concern_error.is_none()
        && !refused.is_empty()
        && refused.iter().all(|refusal| refusal.code == DUPLICATE_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_is_written_at_most() {
        let writes = WRITES_BEFORE_ANSWER_MAX + WRITES_AFTER_ANSWER_MAX;
        assert_eq!(usize::from(writes), COLLECTIONS.len());
        assert_eq!(ACCOUNTS, "accounts");
    }
}
