//! A turn: bets for a fixed time on one of the platforms, and what its processes used in it. The other platform idles, and its
//! processes are not counted.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::Layout;
use serde::Serialize;

use super::platform::{Platform, Side};
use crate::commands::bench::bettors::Bettors;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::turn::{PlatformTurn, Reading, idle};
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::steps::print_line;

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// Build that was measured.
    pub(super) side: Side,
    #[serde(flatten)]
    pub(super) measured: PlatformTurn,
}

/// One platform with its players.
#[derive(Debug)]
pub(super) struct Contender<'a> {
    platform: &'a Platform,
    bettors: Bettors<'a>,
    pace: Pace,
}

impl<'a> Contender<'a> {
    /// Registers players with enough money for the plan.
    pub(super) async fn register(
        platform: &'a Platform,
        pace: Pace,
        plan: &Plan,
        output: &'a Output,
    ) -> Result<Self> {
        let bettors = Bettors::register(platform.gateway()?, plan, output).await;
        let bettors = bettors.with_context(|| format!("the platform {platform}"))?;
        Ok(Self { platform, bettors, pace })
    }

    /// Warms the platform up and measures an interval.
    ///
    /// # Errors
    /// When no bet was settled, or when a process of the platform cannot be read or did not run throughout.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let Self { platform, bettors, pace } = self;
        let sent = bettors.turn(*pace, || Reading::of(&platform.layout)).await;
        let measured = sent.and_then(PlatformTurn::of);
        let measured =
            measured.with_context(|| format!("a turn on the platform {platform} cannot be used"))?;
        let turn = Turn { side: platform.side, measured };
        print_line(&turn.to_string());
        Ok(turn)
    }

    /// Sends the bets of an interval, and returns their p50. It counts nothing else.
    pub(super) async fn p50_ms(&self) -> f64 {
        let Pace { rate_per_s, seconds, .. } = self.pace;
        self.bettors.send(f64::from(rate_per_s), seconds).await.latency_ms().p50
    }

    /// Folders of the platform.
    pub(super) fn layout(&self) -> &Layout {
        &self.platform.layout
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlatformTurn { bets, cpu_ms_per_bet, .. } = &self.measured;
        write!(f, "{}: p50 {:.1} ms, CPU {cpu_ms_per_bet:.2} ms/bet", self.side, bets.latency_ms.p50)
    }
}

/// CPU time in milliseconds of each second in which nothing is sent. Both platforms are measured at the same time.
///
/// # Errors
/// When a process cannot be read, or did not run throughout.
pub(super) async fn idle_cpu_ms_per_s(
    platforms: &[Platform; 2],
    seconds: u64,
    output: &Output,
) -> Result<[f64; 2]> {
    let [begin_a, begin_b] = read_both(platforms)?;
    idle(Duration::from_secs(seconds), output).await;
    let [end_a, end_b] = read_both(platforms)?;
    Ok([per_s(&begin_a, &end_a)?, per_s(&begin_b, &end_b)?])
}

/// CPU time in milliseconds of each second between two readings.
fn per_s(begin: &Reading, end: &Reading) -> Result<f64> {
    let used = end.cpu_ms_since(begin).context("the idle interval cannot be used")?;
    Ok(used.values().sum::<f64>() / end.since(begin).as_secs_f64())
}

fn read_both([a, b]: &[Platform; 2]) -> Result<[Reading; 2]> {
    Ok([Reading::of(&a.layout)?, Reading::of(&b.layout)?])
}
