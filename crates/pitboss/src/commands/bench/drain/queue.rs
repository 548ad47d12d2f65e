//! Commands of one side, the group that has not read them, and the outcomes of those that it has.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bus::disturb::Disturbance;
use bus::lag::BacklogReader;
use bus::{Ranges, RawRecord};
use contracts::{Group, Topic};
use serde::Serialize;

use super::outcomes::{Outcomes, rate_per_s};

/// Time in which a backlog comes about, or is drained.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(1_800);
/// Interval at which the backlog is read. Each reading is a few requests to the broker.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Topics of one side.
pub(super) struct Queue {
    broker: Disturbance,
    backlog: BacklogReader,
    outcomes: Outcomes,
}

/// How a backlog was drained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Drained {
    /// Records of the backlog.
    pub(super) records: u64,
    /// Records a second, without the start of the consumer.
    pub(super) records_per_s: f64,
    /// Time from the start of the process until its group has committed all of them, in seconds.
    pub(super) to_lag_0_s: f64,
}

/// The moment at which a consumer is started.
pub(super) struct Start {
    began: Instant,
    outcomes: Ranges,
}

impl Queue {
    /// The commands that `group` reads on `reads`, and its outcomes on `publishes`. The clients connect in the background.
    pub(super) fn of(kafka: &bus::Config, group: Group, reads: Topic, publishes: Topic) -> Result<Self> {
        Ok(Self {
            broker: Disturbance::new(kafka.clone()),
            backlog: BacklogReader::new(kafka, group, &[reads])?,
            outcomes: Outcomes::of(kafka, publishes)?,
        })
    }

    /// Publishes records, and waits for their acknowledgement.
    pub(super) async fn publish(&self, records: &[RawRecord]) -> Result<()> {
        self.broker.publish(records).await.context("cannot publish the commands")?;
        Ok(())
    }

    /// Waits until the group has at least this many unread records.
    pub(super) async fn until_backlog(&self, records: u64) -> Result<()> {
        self.until(|unread| unread >= records, || Ok(())).await
    }

    /// Notes what is there before a consumer is started.
    pub(super) async fn before_start(&self) -> Result<Start> {
        let outcomes = self.outcomes.present().await?;
        Ok(Start { began: Instant::now(), outcomes })
    }

    /// Waits until the group has read everything, and says how fast it was. `check` fails when its consumer has ended.
    ///
    /// # Errors
    /// When it takes too long, or when there are more or fewer outcomes than records.
    pub(super) async fn drained(
        &self,
        start: Start,
        records: u64,
        check: impl FnMut() -> Result<()>,
    ) -> Result<Drained> {
        self.until(|unread| unread == 0, check).await?;
        let to_lag_0_s = start.began.elapsed().as_secs_f64();
        let times_ms = self.outcomes.times_ms_since(&start.outcomes).await?;
        if times_ms.len() as u64 != records {
            bail!(
                "{records} records have {} outcomes: something else uses the platform, so repeat this without it",
                times_ms.len()
            );
        }
        let records_per_s = rate_per_s(&times_ms).context("all outcomes have the same time")?;
        Ok(Drained { records, records_per_s, to_lag_0_s })
    }

    async fn until(
        &self,
        is_reached: impl Fn(u64) -> bool,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let until = Instant::now() + BACKLOG_DEADLINE;
        loop {
            let unread = self.backlog.read().await?.messages;
            if is_reached(unread) {
                return Ok(());
            }
            check()?;
            if Instant::now() > until {
                bail!("{unread} records are unread after {} s", BACKLOG_DEADLINE.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
