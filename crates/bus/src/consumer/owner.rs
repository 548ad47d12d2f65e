//! The owner task. It alone changes the ledger, the lanes, the budget and the assignment.
//!
//! One loop handles events by priority: shutdown, rebalances, completions, commits, the tick, then new records. It polls as long
//! as it lives, so a slow handler never costs the member its place in the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use contracts::Group;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Client;
use super::commit::{Commit, Committed};
use super::context::Rebalance;
use super::damage::Damage;
use super::handover::Handover;
use super::health::Health;
use super::watchdog::Watchdog;
use super::work::{Completion, Queued};
use crate::budget::{Budget, PausedSet};
use crate::config::Config;
use crate::error::{ClientError, ConsumerError};
use crate::lanes::Lanes;
use crate::ledger::{Ledger, TopicPartition};
use crate::load::Load;
use crate::names::Names;
use crate::process::Processor;
use crate::record::Record;
use crate::watch::LaneWatch;

/// Membership of this consumer in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In a group: partitions are assigned and revoked, and offsets are committed.
    Member,
    /// Outside any group: all partitions from the end, without commits.
    Tail,
}

/// Callback that receives true while records can be taken.
pub(crate) type Ready = Box<dyn Fn(bool) + Send + Sync>;

/// Life cycle of a consumer. It never goes back.
pub(super) enum Phase {
    /// Records are taken.
    Running,
    /// Records in flight finish. No more are taken.
    Stopping(Stop),
    /// Only the last commit and the outstanding answers to librdkafka remain.
    Closing,
}

impl Phase {
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
}

/// Deadline and cause of a shutdown.
pub(super) struct Stop {
    pub(super) deadline: Instant,
    pub(super) cause: Option<ConsumerError>,
}

pub(crate) struct Owner {
    pub(super) config: Config,
    pub(super) names: Names,
    pub(super) mode: Mode,
    pub(super) client: Arc<Client>,
    pub(super) processor: Arc<Processor>,
    pub(super) rebalances: mpsc::Receiver<Rebalance>,
    pub(super) completions: mpsc::Receiver<Completion>,
    pub(super) completed: mpsc::Sender<Completion>,
    pub(super) ledger: Ledger,
    pub(super) lanes: Lanes<Queued>,
    pub(super) watches: Vec<Arc<LaneWatch>>,
    /// Partition of the record that runs in each slot.
    pub(super) working_on: Vec<Option<TopicPartition>>,
    pub(super) budget: Budget,
    pub(super) paused: PausedSet,
    /// Cancelled when a partition is revoked. A record that waits for its next attempt is then given back.
    pub(super) leaving: BTreeMap<TopicPartition, CancellationToken>,
    pub(super) commit: Option<Commit>,
    pub(super) commits: u64,
    pub(super) handover: Option<Handover>,
    pub(super) watchdog: Watchdog,
    pub(super) phase: Phase,
    pub(super) ready: Ready,
    pub(super) has_assignment: bool,
    pub(super) load: Arc<Load>,
    pub(super) health: Health,
    pub(super) damage: Damage,
}

/// Event that woke the owner.
enum Wake {
    Stop,
    Rebalance(Rebalance),
    Completed(Completion),
    Committed(Committed),
    Tick,
    Record(Result<Record, KafkaError>),
}

impl Owner {
    pub(crate) fn new(
        config: &Config,
        client: Arc<Client>,
        rebalances: mpsc::Receiver<Rebalance>,
        processor: Processor,
        mode: Mode,
    ) -> Self {
        // each slot has at most one completion in flight, so there is always room for it
        let (completed, completions) = mpsc::channel(config.lanes + 1);
        let origin = Instant::now();
        let watch = || Arc::new(LaneWatch::new(origin));
        Self {
            names: config.names(),
            mode,
            client,
            processor: Arc::new(processor),
            rebalances,
            completions,
            completed,
            ledger: Ledger::default(),
            lanes: Lanes::new(config.lanes),
            watches: std::iter::repeat_with(watch).take(config.lanes).collect(),
            working_on: vec![None; config.lanes],
            budget: Budget::new(config.in_flight_records_max, config.in_flight_bytes_max),
            paused: PausedSet::default(),
            leaving: BTreeMap::new(),
            commit: None,
            commits: 0,
            handover: None,
            watchdog: Watchdog::new(config.stall_deadline()),
            phase: Phase::Running,
            ready: Box::new(|_| ()),
            has_assignment: false,
            load: Arc::default(),
            health: Health::default(),
            damage: Damage::default(),
            config: config.clone(),
        }
    }

    pub(crate) async fn run(
        mut self,
        shutdown: CancellationToken,
        ready: Ready,
    ) -> Result<(), ConsumerError> {
        self.ready = ready;
        self.tell_ready();
        let mut tick = tokio::time::interval(self.config.commit_interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.has_wound_down() {
            self.dispatch();
            let wake = self.next(&shutdown, &mut tick).await;
            self.on(wake);
            self.advance_handover();
        }
        self.close().await
    }

    pub(crate) fn load(&self) -> Arc<Load> {
        Arc::clone(&self.load)
    }

    /// Marks the partitions as known. Outside a group no rebalance assigns them.
    pub(crate) fn is_assigned(&mut self) {
        self.has_assignment = true;
    }

    async fn next(&mut self, shutdown: &CancellationToken, tick: &mut Interval) -> Wake {
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if self.phase.is_running() => Wake::Stop,
            Some(event) = self.rebalances.recv() => Wake::Rebalance(event),
            Some(completion) = self.completions.recv() => Wake::Completed(completion),
            committed = Commit::ended(&mut self.commit) => Wake::Committed(committed),
            _ = tick.tick() => Wake::Tick,
            message = self.client.recv() => {
                Wake::Record(message.map(|message| Record::from_message(&message, &self.names)))
            }
        }
    }

    fn on(&mut self, wake: Wake) {
        match wake {
            Wake::Stop => self.begin_stop(None),
            Wake::Rebalance(event) => self.on_rebalance(event),
            Wake::Completed(completion) => self.on_completed(completion),
            Wake::Committed(committed) => self.on_committed(committed),
            Wake::Tick => self.on_tick(),
            Wake::Record(Ok(record)) => self.on_record(record),
            Wake::Record(Err(error)) => self.on_client_error(error),
        }
    }

    fn on_tick(&mut self) {
        self.pass_what_is_no_record();
        self.start_commit();
        self.look_for_brokers();
        self.look_for_damage();
        if self.phase.is_running() {
            let held: Vec<TopicPartition> = match self.watches.iter().any(|watch| watch.is_holding()) {
                true => self.ledger.owned().filter(|partition| self.is_held(partition)).cloned().collect(),
                false => Vec::new(),
            };
            let looked =
                self.watchdog.look(&self.ledger, &self.watches, |partition| held.contains(partition));
            if let Err(stuck) = looked {
                self.begin_stop(Some(stuck));
            }
        }
    }

    /// Reports readiness: whether records can be taken.
    pub(super) fn tell_ready(&self) {
        let is_ready =
            self.phase.is_running() && self.has_assignment && !self.is_cut_off() && !self.damage.is_there();
        (self.ready)(is_ready);
    }

    /// Only a fatal error or fencing stops the consumer. librdkafka recovers from most others, which are lost connections.
    fn on_client_error(&mut self, error: KafkaError) {
        let fenced = error.rdkafka_error_code() == Some(RDKafkaErrorCode::FencedInstanceId);
        if fenced || matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            let cause = ClientError::Kafka { doing: "consuming", source: error };
            self.begin_stop(Some(cause.into()));
        } else if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.on_cut_off();
        } else {
            self.on_complaint();
            tracing::debug!(kafka.error = %error, "polling reports an error that librdkafka repairs");
        }
    }

    /// Begins a shutdown: no more records are taken, and those in flight finish until the deadline. A cause is reported and
    /// waiting records are then withdrawn, even if a shutdown is already in progress.
    pub(super) fn begin_stop(&mut self, cause: Option<ConsumerError>) {
        if let Some(cause) = &cause {
            tell(cause, &self.processor.group);
            self.withdraw(|_, _| true);
        }
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running => {
                let deadline = match &cause {
                    // stuck work will not finish before a deadline either
                    Some(ConsumerError::Stalled { .. }) => now,
                    _ => now + self.config.stop_drain_deadline(),
                };
                self.phase = Phase::Stopping(Stop { deadline, cause });
            }
            Phase::Stopping(stop) => {
                stop.cause = stop.cause.take().or(cause);
                return;
            }
            Phase::Closing => return,
        }
        self.tell_ready();
        for token in self.leaving.values() {
            token.cancel();
        }
        self.apply_pause();
    }

    fn has_wound_down(&self) -> bool {
        match &self.phase {
            Phase::Running => false,
            Phase::Stopping(stop) => self.lanes.is_idle() || Instant::now() >= stop.deadline,
            Phase::Closing => true,
        }
    }
}

/// Reports why the consumer stops. A handler's error was already reported in its own trace.
fn tell(cause: &ConsumerError, group: &Group) {
    if matches!(cause, ConsumerError::Handler { .. }) {
        tracing::warn!(kafka.group = group.as_str(), "the consumer stops: {cause}");
    } else {
        telemetry::report(cause, &[("error.kind", cause.kind()), ("kafka.group", group.as_str())]);
    }
}
