//! Test stage: sweepers alone, with their own store and topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{CancellationToken, ClientError, Producer};
use game::bets::Bets;
use game::config::{Config, SweeperConfig};
use game::sweeper::{Backlog, Sweeper};
use store::bson::{DateTime, Document};
use store::mongo::{Collection, Mongo};

use crate::harness::{Seen, TIMEOUT, watch};
use crate::skew::undecided;

/// Backlog of payment with a state set by the test. It counts the checks.
#[derive(Clone, Default)]
pub(crate) struct FakeBacklog {
    pub(crate) is_behind: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

#[async_trait]
impl Backlog for FakeBacklog {
    async fn is_older_than(&self, _age: Duration) -> Result<bool, ClientError> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        Ok(self.is_behind.load(Ordering::SeqCst))
    }
}

impl FakeBacklog {
    pub(crate) fn behind() -> Self {
        let backlog = Self::default();
        backlog.is_behind.store(true, Ordering::SeqCst);
        backlog
    }

    pub(crate) async fn wait_for_checks(&self, count: usize) {
        testkit::eventually("the sweeper to check the backlog", TIMEOUT, || async {
            (self.checks.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }
}

/// Store, topic and sweepers of one test.
pub(crate) struct Stage {
    pub(crate) seen: Seen,
    pub(crate) bets: Bets,
    pub(crate) documents: Collection<Document>,
    pub(crate) mongo: Mongo,
    pub(crate) producer: Producer,
    config: SweeperConfig,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    /// Sets up a stage without a sweeper.
    pub(crate) async fn new(config: &Config) -> Self {
        let mongo = Mongo::connect(&config.mongo).await.unwrap();
        let bets = Bets::open(&mongo).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let seen = Seen::default();
        watch(&config.kafka, &producer, seen.clone()).await;
        let (documents, stop) = (mongo.collection("bets"), CancellationToken::new());
        Self { seen, bets, documents, mongo, producer, config: config.sweeper.clone(), stop }
    }

    /// Sets up a stage and starts one sweeper.
    pub(crate) async fn start(config: Config, backlog: impl Backlog) -> Self {
        let stage = Self::new(&config).await;
        stage.run(stage.sweeper(&stage.bets, backlog));
        stage
    }

    /// Creates a sweeper of this stage that uses the store through `bets`.
    pub(crate) fn sweeper<B: Backlog>(&self, bets: &Bets, backlog: B) -> Sweeper<B> {
        Sweeper::new(bets.clone(), self.producer.clone(), backlog, self.config.clone())
    }

    /// Runs the sweeper until the stage is dropped.
    pub(crate) fn run<B: Backlog>(&self, sweeper: Sweeper<B>) {
        telemetry::spawn(sweeper.run(self.stop.clone()));
    }

    /// Inserts `count` undecided bets of one player that are due.
    pub(crate) async fn due(&self, player: &str, count: usize) {
        for _ in 0..count {
            self.bets.insert(&undecided(player, Some(DateTime::from_millis(0)))).await.unwrap();
        }
    }
}
