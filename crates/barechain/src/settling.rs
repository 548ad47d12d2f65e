//! The consumer of the commands: it stores the bets of a batch, publishes their outcomes, and then completes their offsets.
//!
//! In the order of the players it does that for one bet of a player after the other, and for all players at the same time.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use mongodb::bson::DateTime;
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::FutureProducer;

use crate::clients::{self, Member};
use crate::rows::{Row, Rows};
use crate::tasks::StopSettling;
use crate::{Bet, ChainError, Order, Outcome, Settings};

/// Maximum number of records in a batch. A batch waits for no record: it has those that are there when the one before is done.
const BATCH_RECORDS_MAX: usize = 500;

/// The consumer, and what it writes to.
pub(crate) struct Settling {
    pub(crate) consumer: StreamConsumer<Member>,
    pub(crate) producer: FutureProducer,
    pub(crate) rows: Rows,
    pub(crate) settings: Settings,
    pub(crate) stop: StopSettling,
}

/// Bets that are settled together.
#[derive(Debug, Default)]
struct Batch {
    bets: Vec<Bet>,
    /// Offset of the last record by partition.
    last_offsets: BTreeMap<i32, i64>,
}

impl Batch {
    fn decode(records: Vec<KafkaResult<BorrowedMessage<'_>>>) -> Result<Self, ChainError> {
        let mut batch = Self::default();
        for record in records {
            if let Some(record) = clients::readable(record)? {
                batch.bets.push(Bet::decode(record.payload().unwrap_or_default())?);
                batch.last_offsets.insert(record.partition(), record.offset());
            }
        }
        Ok(batch)
    }
}

impl Settling {
    /// Settles bets until something fails. A request to stop is seen between two batches, so no write is in flight at the end.
    pub(crate) async fn run(mut self) -> Result<(), ChainError> {
        let (commands, outcomes) = (self.settings.commands_topic(), self.settings.outcomes_topic());
        let mut batches = self.consumer.stream().ready_chunks(BATCH_RECORDS_MAX);
        loop {
            let records = tokio::select! {
                biased;
                () = self.stop.requested() => return Ok(()),
                records = batches.next() => records,
            };
            let Some(records) = records else { return Ok(()) };
            let batch = Batch::decode(records)?;
            if batch.bets.is_empty() {
                continue;
            }
            let now = DateTime::now();
            let rows: Vec<Row> = batch.bets.iter().map(|bet| Row::of(bet, now)).collect();
            match self.settings.order {
                Order::Batch => {
                    self.rows.write_before_answer(&rows).await?;
                    let (published, written) = tokio::join!(
                        self.publish(&outcomes, &batch.bets),
                        self.rows.write_after_answer(&rows)
                    );
                    published.and(written)?;
                }
                Order::Player => {
                    self.settle_players(&outcomes, &batch.bets, &rows).await?;
                    self.rows.write_after_answer(&rows).await?;
                }
            }
            for (partition, offset) in &batch.last_offsets {
                let stored = self.consumer.store_offset(&commands, *partition, *offset);
                stored.map_err(ChainError::kafka("storing an offset"))?;
            }
        }
    }

    /// Settles the bets of all players at the same time. A player whose bet fails does not leave writes of others in flight.
    async fn settle_players(&self, topic: &str, bets: &[Bet], rows: &[Row]) -> Result<(), ChainError> {
        let mut players: BTreeMap<&str, Vec<(&Bet, &Row)>> = BTreeMap::new();
        for (bet, row) in bets.iter().zip(rows) {
            players.entry(bet.player_id.as_str()).or_default().push((bet, row));
        }
        let settled = join_all(players.into_values().map(|bets| self.settle_player(topic, bets))).await;
        settled.into_iter().collect()
    }

    /// Settles the bets of one player. An outcome is published when its bet is durable. The next bet does not wait for the
    /// acknowledgement, but the offsets do.
    async fn settle_player(&self, topic: &str, bets: Vec<(&Bet, &Row)>) -> Result<(), ChainError> {
        let mut published = Vec::new();
        for (bet, row) in bets {
            self.rows.write_in_order(row).await?;
            let outcome = Outcome::of(bet).encode()?;
            published.push(clients::enqueue(&self.producer, topic, &bet.player_id, &outcome)?);
        }
        try_join_all(published.into_iter().map(clients::acknowledged)).await.map(drop)
    }

    /// Publishes the outcomes and waits until all of them are acknowledged.
    async fn publish(&self, topic: &str, bets: &[Bet]) -> Result<(), ChainError> {
        let publishes = bets.iter().map(|bet| async move {
            let outcome = Outcome::of(bet).encode()?;
            clients::publish(&self.producer, topic, &bet.player_id, &outcome).await
        });
        try_join_all(publishes).await.map(drop)
    }
}
