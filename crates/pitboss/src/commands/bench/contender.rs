//! Two platforms side by side that get bets in turns. The one that gets none idles, and its processes are not counted.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::Layout;
use serde::Serialize;

use super::bettors::Bettors;
use super::pace::Pace;
use super::platform::{Platform, Side};
use super::turn::{PerSecond, PlatformTurn, Reading, Sent, idle};
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::steps::print_line;

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// Platform that was measured.
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
    /// Registers players with enough money for the plan on both platforms, and sends the bets of a turn to each that do not count.
    ///
    /// # Errors
    /// When a player cannot be registered, and those of [`Self::turn`].
    pub(super) async fn both(
        [a, b]: &'a [Platform; 2],
        pace: Pace,
        plan: &Plan,
        output: &'a Output,
    ) -> Result<[Self; 2]> {
        let both =
            [Self::register(a, pace, plan, output).await?, Self::register(b, pace, plan, output).await?];
        // Not counted, because a broker that was just started still compiles its code.
        for contender in &both {
            contender.turn(|side, sent| Ok(format!("{side}: {}, not counted", sent.bets.latency_ms))).await?;
        }
        Ok(both)
    }

    async fn register(platform: &'a Platform, pace: Pace, plan: &Plan, output: &'a Output) -> Result<Self> {
        let bettors = Bettors::on(&platform.target()?, plan, output).await;
        let bettors = bettors.with_context(|| format!("the platform {platform}"))?;
        Ok(Self { platform, bettors, pace })
    }

    /// Warms the platform up and measures an interval, of which `read` makes the result of the turn.
    ///
    /// # Errors
    /// When no bet was settled, when the processes of the platform cannot be read, and those of `read`.
    pub(super) async fn turn<T: fmt::Display>(
        &self,
        read: impl FnOnce(Side, Sent) -> Result<T>,
    ) -> Result<T> {
        let Self { platform, bettors, pace } = self;
        let sent = bettors.turn(*pace, || Reading::of(&platform.layout)).await;
        let turn = sent.and_then(|sent| read(platform.side, sent));
        let turn = turn.with_context(|| format!("a turn on the platform {platform} cannot be used"))?;
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

impl Turn {
    /// Adds up what the processes of the platform used.
    ///
    /// # Errors
    /// When a process did not run throughout.
    pub(super) fn of(side: Side, sent: Sent) -> Result<Self> {
        Ok(Self { side, measured: PlatformTurn::of(sent)? })
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlatformTurn { bets, cpu_ms_per_bet, .. } = &self.measured;
        write!(f, "{}: p50 {:.1} ms, CPU {cpu_ms_per_bet:.2} ms/bet", self.side, bets.latency_ms.p50)
    }
}

/// CPU time of each process of A and of B in each second in which nothing is sent. Both are measured at the same time.
///
/// # Errors
/// When a process cannot be read, or did not run throughout.
pub(super) async fn idle_cpu_ms_per_s(
    platforms: &[Platform; 2],
    seconds: u64,
    output: &Output,
) -> Result<[PerSecond; 2]> {
    let [begin_a, begin_b] = read_both(platforms)?;
    idle(Duration::from_secs(seconds), output).await;
    let [end_a, end_b] = read_both(platforms)?;
    Ok([end_a.idle_cpu_ms_per_s_since(&begin_a)?, end_b.idle_cpu_ms_per_s_since(&begin_b)?])
}

fn read_both([a, b]: &[Platform; 2]) -> Result<[Reading; 2]> {
    Ok([Reading::of(&a.layout)?, Reading::of(&b.layout)?])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commands::bench::turn::tests::platform_turn;

    /// A round whose turns A, B, B, A have these medians and, multiplied by 10, this CPU time.
    pub(in crate::commands::bench) fn round(p50_ms: [f64; 4]) -> [Turn; 4] {
        let turn = |side, p50| Turn { side, measured: platform_turn(p50, p50 * 10.0) };
        let [a1, b1, b2, a2] = p50_ms;
        [turn(Side::A, a1), turn(Side::B, b1), turn(Side::B, b2), turn(Side::A, a2)]
    }

    #[test]
    fn line_names_the_side() {
        let [a, b, ..] = round([4.0, 5.0, 5.0, 4.0]).map(|turn| turn.to_string());
        assert_eq!([a, b], ["A: p50 4.0 ms, CPU 40.00 ms/bet", "B: p50 5.0 ms, CPU 50.00 ms/bet"]);
    }
}
