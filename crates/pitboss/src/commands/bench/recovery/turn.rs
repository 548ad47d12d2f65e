//! A turn: a steady load, during which a consumer is killed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use runtime::control::Action;
use runtime::policy::RestartPolicy;
use serde::Serialize;

use super::watch::Watch;
use crate::actuators::Platform;
use crate::commands::bench::bettors::Bettors;
use crate::commands::bench::consumer::Consumer;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::settler::Settler;
use crate::load_generator::load_report::Kind;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Victim {
    /// The bare consumer.
    Chain,
    /// A consumer of the platform.
    #[serde(untagged)]
    Platform(Consumer),
}

/// Result of one turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Turn {
    /// The killed consumer.
    pub(super) killed: Victim,
    /// Time from the kill to the first settled bet that was to be sent after it, in seconds.
    pub(super) recovery_s: f64,
    /// Bets that were to be sent from the kill on.
    pub(super) sent: u64,
    /// Those of them that were settled in time.
    pub(super) settled: u64,
    /// Those of them that were rejected for a business reason.
    pub(super) rejected: u64,
    /// All others of them, by kind. Those of the outage are among them.
    pub(super) errors: BTreeMap<String, u64>,
    /// Bets before the kill that were not settled in time, by kind.
    pub(super) errors_before: BTreeMap<String, u64>,
}

/// Everything that can be killed, and the players on both sides.
pub(super) struct Arena<'a> {
    /// The bare consumer.
    pub(super) settler: &'a Settler,
    pub(super) platform: Platform,
    /// Players of the chain.
    pub(super) on_chain: Bettors<'a>,
    /// Players of the platform.
    pub(super) on_platform: Bettors<'a>,
    pub(super) pace: Pace,
}

impl Arena<'_> {
    /// Sends bets, kills a consumer, and sends bets until the interval is over.
    ///
    /// # Errors
    /// When no bet was settled in the interval, when the consumer is not started again, or when an earlier turn left a backlog.
    pub(super) async fn turn(&self, victim: Victim) -> Result<Turn> {
        let turn = self.measured(victim).await;
        turn.with_context(|| format!("a turn in which {victim} was killed cannot be used"))
    }

    async fn measured(&self, victim: Victim) -> Result<Turn> {
        let Self { settler, platform, on_chain, on_platform, pace } = self;
        let bettors = if victim == Victim::Chain { on_chain } else { on_platform };
        let rate_per_s = f64::from(pace.rate_per_s);
        bettors.until_settled().await?;
        let warm_up = bettors.send(rate_per_s, pace.warm_up_s).await;
        let watch = Watch::default();
        let load =
            bettors.send_each(rate_per_s, pace.seconds, |outcome| watch.ended(outcome, Instant::now()));
        let kill = async {
            match victim {
                Victim::Chain => kill_settler(settler, &watch).await,
                Victim::Platform(consumer) => kill(platform, consumer, &watch).await,
            }
        };
        let (tally, killed) = tokio::join!(load, kill);
        killed?;
        if let Victim::Platform(consumer) = victim {
            platform.start(consumer.as_str()).await?;
        }
        let recovery = watch.settled_after();
        let recovery = recovery.with_context(|| {
            format!("no bet was settled within {} s, so use more --seconds", pace.seconds)
        })?;
        Ok(Turn {
            killed: victim,
            recovery_s: recovery.as_secs_f64(),
            sent: tally.ended(),
            settled: tally.count(Kind::Settled),
            rejected: tally.count(Kind::Rejected),
            errors: tally.errors_and_refusals(),
            errors_before: warm_up.errors_and_refusals(),
        })
    }
}

/// Kills the bare consumer, and starts it again after the pause that the supervisor makes, too. Returns when it has joined its group.
async fn kill_settler(settler: &Settler, watch: &Watch) -> Result<()> {
    let asked_at = Instant::now();
    settler.kill().await?;
    watch.killed(asked_at);
    tokio::time::sleep(Duration::from_millis(RestartPolicy::default().backoff_ms_min)).await;
    settler.start().await?.joined().await
}

/// Kills a consumer of the platform, which the supervisor starts again.
async fn kill(platform: &Platform, consumer: Consumer, watch: &Watch) -> Result<()> {
    let asked_at = Instant::now();
    platform.client.act(Action::Kill, consumer.as_str()).await?;
    watch.killed(asked_at);
    Ok(())
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("the bare consumer"),
            Self::Platform(consumer) => f.write_str(consumer.as_str()),
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, recovery_s, sent, settled, .. } = self;
        write!(
            f,
            "{killed} killed: next settled bet after {recovery_s:.2} s, {settled} of {sent} settled in time"
        )
    }
}
