//! The owner task. It alone changes the partitions, the lanes and the budget.
//!
//! One loop handles events by priority: shutdown, rebalances, completions, commits, the tick, then new records. It polls as long
//! as it lives, so a slow handler never costs the member its place in the group.

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
use super::due::Due;
use super::gaps::Gaps;
use super::handover::Handover;
use super::health::Health;
use super::watchdog::Watchdog;
use super::work::{Completion, Queued};
use crate::breaker::Breaker;
use crate::budget::Budget;
use crate::config::Config;
use crate::consumer_stats::ConsumerStats;
use crate::error::{ClientError, ConsumerError};
use crate::hook::RecordHook;
use crate::lane_activity::LaneActivity;
use crate::lanes::Lanes;
use crate::names::Names;
use crate::partitions::{Partitions, TopicPartition};
use crate::record::Record;
use crate::record_task::Processor;

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

/// Lifecycle of a consumer. It only moves forward.
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
    pub(super) completion_sender: mpsc::Sender<Completion>,
    pub(super) partitions: Partitions,
    pub(super) lanes: Lanes<Queued>,
    pub(super) activities: Vec<Arc<LaneActivity>>,
    /// Partition of the record that runs in each slot.
    pub(super) slot_partitions: Vec<Option<TopicPartition>>,
    pub(super) budget: Budget,
    pub(super) commit: Option<Commit>,
    pub(super) commits: u64,
    pub(super) commits_failed_in_row: u32,
    pub(super) handover: Option<Handover>,
    pub(super) watchdog: Watchdog,
    pub(super) phase: Phase,
    pub(super) ready: Ready,
    pub(super) has_assignment: bool,
    pub(super) stats: Arc<ConsumerStats>,
    pub(super) health: Health,
    pub(super) damage: Damage,
    pub(super) gaps: Gaps,
    /// Records of retry topics that wait until they are due.
    pub(super) due: Due,
    pub(super) breaker: Breaker,
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
        // Each slot has at most one completion in flight, so there is always room for it
        let (completion_sender, completions) = mpsc::channel(config.lanes + 1);
        let origin = Instant::now();
        let activity = || Arc::new(LaneActivity::new(origin));
        Self {
            names: config.names(),
            mode,
            client,
            processor: Arc::new(processor),
            rebalances,
            completions,
            completion_sender,
            partitions: Partitions::default(),
            lanes: Lanes::new(config.lanes),
            activities: std::iter::repeat_with(activity).take(config.lanes).collect(),
            slot_partitions: vec![None; config.lanes],
            budget: Budget::new(config.in_flight_records_max, config.in_flight_bytes_max),
            commit: None,
            commits: 0,
            commits_failed_in_row: 0,
            handover: None,
            watchdog: Watchdog::new(config.stall_deadline()),
            phase: Phase::Running,
            ready: Box::new(|_| ()),
            has_assignment: false,
            stats: Arc::default(),
            health: Health::default(),
            damage: Damage::default(),
            gaps: Gaps::default(),
            due: Due::default(),
            breaker: Breaker::new(config.breaker_limits()),
            config: config.clone(),
        }
    }

    pub(crate) async fn run(
        mut self,
        shutdown: CancellationToken,
        ready: Ready,
    ) -> Result<(), ConsumerError> {
        self.ready = ready;
        self.report_ready();
        let mut tick = tokio::time::interval(self.config.commit_interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_drained() {
            self.dispatch();
            let wake = self.next(&shutdown, &mut tick).await;
            self.on(wake);
            self.advance_handover();
        }
        self.close().await
    }

    pub(crate) fn stats(&self) -> Arc<ConsumerStats> {
        Arc::clone(&self.stats)
    }

    /// Sets the hook for all records. Only the first one is used.
    pub(crate) fn set_hook(&self, hook: Arc<dyn RecordHook>) {
        self.processor.hook.set(hook).ok();
    }

    /// Marks the partitions as known. Outside a group no rebalance assigns them.
    pub(crate) fn mark_assigned(&mut self) {
        self.has_assignment = true;
    }

    async fn next(&mut self, shutdown: &CancellationToken, tick: &mut Interval) -> Wake {
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if self.phase.is_running() => Wake::Stop,
            Some(event) = self.rebalances.recv() => Wake::Rebalance(event),
            Some(completion) = self.completions.recv() => Wake::Completed(completion),
            committed = Commit::finished(&mut self.commit) => Wake::Committed(committed),
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
        self.pass_offsets_without_records();
        self.start_commit();
        self.check_brokers();
        self.check_damage();
        if self.phase.is_running() {
            self.take_due();
            self.check_breaker();
            let is_any_holding = self.activities.iter().any(|activity| activity.is_holding());
            let held: Vec<TopicPartition> = match is_any_holding || !self.breaker.is_closed() {
                true => {
                    let owned = self.partitions.owned().map(|(partition, _)| partition);
                    owned.filter(|partition| self.is_held(partition)).cloned().collect()
                }
                false => Vec::new(),
            };
            let checked =
                self.watchdog.check(&self.partitions, &self.activities, |partition| held.contains(partition));
            if let Err(stalled) = checked {
                self.begin_stop(Some(stalled));
            }
        }
    }

    /// Reports readiness: whether records can be taken.
    pub(super) fn report_ready(&self) {
        let is_ready = self.phase.is_running()
            && self.has_assignment
            && !self.are_brokers_down()
            && !self.damage.is_any();
        (self.ready)(is_ready);
    }

    /// Only a fatal error or fencing stops the consumer. librdkafka recovers from most others, which are lost connections.
    fn on_client_error(&mut self, error: KafkaError) {
        let fenced = error.rdkafka_error_code() == Some(RDKafkaErrorCode::FencedInstanceId);
        if fenced || matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            let cause = ClientError::Kafka { doing: "consuming", source: error };
            self.begin_stop(Some(cause.into()));
        } else if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.on_brokers_down();
        } else {
            self.on_read_errors();
            tracing::debug!(error = %error, "polling returned an error from which librdkafka recovers");
        }
    }

    /// Begins a shutdown: no more records are taken, and those in flight finish until the deadline. A cause is reported and
    /// waiting records are then withdrawn, even if a shutdown is already in progress.
    pub(super) fn begin_stop(&mut self, cause: Option<ConsumerError>) {
        if let Some(cause) = &cause {
            report_stop(cause, &self.processor.group);
        }
        // Behind an open breaker nothing would start before the deadline
        if cause.is_some() || !self.breaker.is_closed() {
            self.withdraw(|_, _| true);
        }
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running => {
                let deadline = match &cause {
                    // Stuck work will not finish before a deadline either
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
        self.report_ready();
        self.partitions.cancel_all();
        self.apply_pause();
    }

    fn is_drained(&self) -> bool {
        match &self.phase {
            Phase::Running => false,
            Phase::Stopping(stop) => self.lanes.is_idle() || Instant::now() >= stop.deadline,
            Phase::Closing => true,
        }
    }
}

/// Reports why the consumer stops. A handler's error or panic was already reported in its own trace.
fn report_stop(cause: &ConsumerError, group: &Group) {
    if matches!(cause, ConsumerError::Handler { .. } | ConsumerError::Crashed { .. }) {
        tracing::warn!(messaging.consumer.group.name = group.as_str(), "the consumer stops: {cause}");
    } else {
        let group = ("messaging.consumer.group.name", group.as_str());
        telemetry::report(cause, &[("error.kind", cause.kind()), group]);
    }
}
