//! The two sides, and how each gets its backlog.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bus::RawRecord;
use contracts::{Group, Topic};
use futures::future::try_join_all;
use runtime::Layout;
use runtime::control::Action;
use serde_json::json;
use uuid::Uuid;

use super::queue::{Drained, Queue};
use crate::actuators::Platform;
use crate::bet_record;
use crate::commands::bench::consumer::Consumer;
use crate::commands::bench::program::Launch;
use crate::commands::bench::settler::Settler;
use crate::commands::bench::{CURRENCY, STAKE_MINOR};
use crate::lag::source::Source;
use crate::player::Player;
use crate::target::Target;

/// Name of this command's clients at the broker.
const CLIENT_ID: &str = "pitboss-bench";
/// Time in which every group of the platform reads what a turn has left.
const IDLE_DEADLINE: Duration = Duration::from_secs(1_800);
/// Interval at which that is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The bare consumer, whose front has created its topics.
pub(super) struct ChainSide<'a> {
    settler: &'a Settler,
    queue: Queue,
    players: Vec<String>,
}

/// A consumer of the platform.
pub(super) struct PlatformSide<'a> {
    target: &'a Target,
    consumer: Consumer,
    platform: Platform,
    queue: Queue,
    players: Vec<Player>,
}

/// Settings of a client of the platform's broker.
fn kafka(layout: &Layout) -> Result<bus::Config> {
    Ok(bus::Config { client_id: CLIENT_ID.to_owned(), ..Platform::new(layout).kafka()? })
}

impl<'a> ChainSide<'a> {
    /// The bare consumer of a chain.
    pub(super) fn of(settler: &'a Settler, layout: &Layout, players: u16) -> Result<Self> {
        let kafka = settler.launch.kafka(kafka(layout)?);
        Ok(Self {
            settler,
            queue: Queue::of(&kafka, Group::Game, Topic::BetsCommands, Topic::BetsEvents)?,
            players: (0..players).map(|_| Uuid::now_v7().to_string()).collect(),
        })
    }

    /// Publishes the records, and starts the consumer until it has read all of them. It writes in the order of the platform: for each
    /// record its documents, one record of a player after the other.
    pub(super) async fn turn(&self, records: u32) -> Result<Drained> {
        self.drained_by(&self.settler.launch.clone().in_order_of_players(), records).await
    }

    /// The same, by a consumer that writes the documents of all records that it has fetched with one command for each collection. The
    /// platform cannot do that, because the next record of a player depends on the one before.
    pub(super) async fn turn_in_batches(&self, records: u32) -> Result<Drained> {
        self.drained_by(&self.settler.launch, records).await
    }

    async fn drained_by(&self, settler: &Launch, records: u32) -> Result<Drained> {
        let players = self.players.iter().cycle().take(records as usize);
        let bets: Vec<RawRecord> = players.map(|player_id| chain_bet(player_id)).collect();
        self.queue.publish(&bets).await?;
        let start = self.queue.before_start().await?;
        let mut program = self.settler.start_as(settler).await?;
        let drained = self.queue.drained(start, u64::from(records), || program.check()).await?;
        drop(program);
        self.settler.stop().await?;
        Ok(drained)
    }
}

impl<'a> PlatformSide<'a> {
    /// This consumer, and players with money for all bets.
    pub(super) fn of(
        target: &'a Target,
        layout: &Layout,
        consumer: Consumer,
        players: Vec<Player>,
    ) -> Result<Self> {
        let queue = Queue::of(&kafka(layout)?, consumer.group(), consumer.reads(), consumer.publishes())?;
        Ok(Self { target, consumer, platform: Platform::new(layout), queue, players })
    }

    /// Stops the consumer until it has a backlog of these records, and starts it without the others until it has read all of them.
    /// Returns when all consumers run again and have nothing left to read.
    pub(super) async fn turn(&self, records: u32) -> Result<Drained> {
        let Self { consumer, platform, queue, .. } = self;
        platform.stop(consumer.as_str()).await?;
        let players = self.players.iter().cycle().take(records as usize);
        let bets: Vec<RawRecord> = players
            .map(|player| bet_record::place_bet(&player.player_id, STAKE_MINOR, CURRENCY, Vec::new()))
            .collect();
        queue.publish(&bets).await?;
        queue.until_backlog(u64::from(records)).await?;
        // The bare consumer has nobody beside it that reads its outcomes and works with them.
        try_join_all(others(*consumer).map(|group| platform.stop(group.as_str()))).await?;
        let start = queue.before_start().await?;
        platform.client.act(Action::Start, consumer.as_str()).await?;
        let drained = queue.drained(start, u64::from(records), || Ok(())).await?;
        start_all(platform).await?;
        self.until_idle().await?;
        Ok(drained)
    }

    /// Waits until lagwatch has seen that no group has anything left to read.
    pub(super) async fn until_idle(&self) -> Result<()> {
        let (mut lagwatch, began) = (Source::lagwatch(self.target)?, Instant::now());
        loop {
            let reading = lagwatch.read().await?;
            let unread: i64 = reading.groups.iter().map(|lag| lag.lag_messages).sum();
            // A reading from before says nothing, and neither does one without groups.
            let is_new = Duration::from_millis(reading.age_ms) < began.elapsed();
            if unread == 0 && is_new && !reading.groups.is_empty() {
                return Ok(());
            }
            if began.elapsed() > IDLE_DEADLINE {
                bail!("{unread} records of the platform are unread after {} s", IDLE_DEADLINE.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Starts every consumer that does not run, and waits until all are ready.
pub(super) async fn start_all(platform: &Platform) -> Result<()> {
    let started = try_join_all(consumers().map(|group| platform.start(group.as_str()))).await;
    started.map(drop).context("a consumer was not started again: see ./pitboss status")
}

fn consumers() -> impl Iterator<Item = Group> {
    Group::ALL.iter().copied().filter(|group| group.commits())
}

fn others(consumer: Consumer) -> impl Iterator<Item = Group> {
    consumers().filter(move |group| *group != consumer.group())
}

/// A bet as the bare chain reads it (`Bet` in `crates/barechain/src/records.rs`, which this crate must not link).
fn chain_bet(player_id: &str) -> RawRecord {
    let bet = json!({
        "bet_id": Uuid::now_v7().to_string(),
        "player_id": player_id,
        "game": "slots",
        "stake_minor": STAKE_MINOR,
        "currency": CURRENCY,
    });
    RawRecord {
        topic: Topic::BetsCommands.name().to_owned(),
        key: Some(player_id.to_owned().into()),
        headers: Vec::new(),
        value: bet.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_other_consumers_are_stopped() {
        let names: BTreeSet<&str> = others(Consumer::Payment).map(Group::as_str).collect();
        assert_eq!(names, BTreeSet::from(["analytics", "game", "notification", "user"]));
        assert_eq!(consumers().count(), 5);
    }

    #[test]
    fn bet_of_the_chain_has_its_fields() {
        let record = chain_bet("p-1");
        let bet: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        let source = include_str!("../../../../../barechain/src/records.rs");
        let fields: Vec<&str> = source
            .split_once("pub struct Bet {")
            .and_then(|(_, rest)| Some(rest.split_once("\n}")?.0))
            .map(|body| {
                let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
                fields.filter_map(|field| Some(field.split_once(':')?.0)).collect()
            })
            .unwrap();
        assert_eq!(fields, ["bet_id", "player_id", "game", "stake_minor", "currency"]);
        assert!(fields.iter().all(|field| !bet[field].is_null()), "{bet}");
    }
}
