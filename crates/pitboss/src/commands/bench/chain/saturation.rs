//! A turn that raises the rate until a side is saturated.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::side::{Contender, Side};
use crate::commands::bench::comparison::Figure;
use crate::commands::bench::cost::report::kinds;
use crate::load_generator::load_report::{LatencyMs, Report, Tally};
use crate::steps::print_line;

/// Share of the rate that has to be settled while it is sent. The rest is for the last answers.
const KEPT_SHARE_MIN: f64 = 0.95;
/// Rate that is not exceeded. The load generator needs a core for it.
const RATE_PER_S_MAX: f64 = 20_000.0;
/// Rate below which a side counts as broken.
const RATE_PER_S_MIN: f64 = 1.0;

/// The figure that is compared.
pub(super) const FIGURES: [Figure<Peak>; 1] = [Figure {
    name: "settled_per_s",
    title: "settled/s",
    is_limited: false,
    is_more_better: true,
    of: |peak| peak.settled_per_s,
}];

/// Result of the bets at one rate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// The rate.
    rate_per_s: f64,
    /// Settled bets a second, up to the last answer.
    settled_per_s: f64,
    /// Bets that were rejected for a business reason.
    rejected: u64,
    /// Bets that were not answered with 200, by kind.
    errors: BTreeMap<String, u64>,
    /// Latencies from the scheduled time of sending.
    latency_ms: LatencyMs,
}

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peak {
    /// Side that was measured.
    pub(super) side: Side,
    /// The largest number of settled bets a second.
    pub(super) settled_per_s: f64,
    /// True if a rate was too high for the side.
    pub(super) is_saturated: bool,
    /// Bets that were rejected for a business reason.
    pub(super) rejected: u64,
    /// The rates in order.
    steps: Vec<Step>,
}

impl Step {
    fn of(rate_per_s: f64, tally: &Tally, took: Duration) -> Self {
        let report = tally.report(Some(rate_per_s), took);
        // A side that refuses a bet does not keep up. The chain refuses none.
        let errors = report.errors_and_refusals();
        let Report { settled_per_s, rejected, latency_ms, .. } = report;
        Self { rate_per_s, settled_per_s, rejected, errors, latency_ms }
    }

    /// Returns true if every bet was answered in time, and while others were sent.
    fn keeps_up(&self) -> bool {
        self.errors.is_empty() && self.settled_per_s >= self.rate_per_s * KEPT_SHARE_MIN
    }
}

impl Peak {
    fn of(side: Side, steps: Vec<Step>) -> Self {
        Self {
            side,
            settled_per_s: steps.iter().map(|step| step.settled_per_s).fold(0.0, f64::max),
            is_saturated: steps.iter().any(|step| !step.keeps_up()),
            rejected: steps.iter().map(|step| step.rejected).sum(),
            steps,
        }
    }
}

/// Sends bets at higher and higher rates, each for some seconds, until a side does not keep up.
///
/// A side that does not keep up with the first rate gets lower rates until it does. Returns when its backlog is settled.
///
/// # Errors
/// When it does not keep up with any rate, or when its backlog is not settled in time.
pub(super) async fn climb(
    contender: &Contender<'_>,
    begin_per_s: f64,
    factor: f64,
    seconds: u64,
) -> Result<Peak> {
    let (mut steps, mut rate_per_s) = (Vec::new(), begin_per_s.max(RATE_PER_S_MIN));
    let mut has_kept_up = false;
    loop {
        let began = Instant::now();
        let tally = contender.bettors.send(rate_per_s, seconds).await;
        let step = Step::of(rate_per_s, &tally, began.elapsed());
        print_line(&format!("{}: {step}", contender.side));
        let keeps_up = step.keeps_up();
        steps.push(step);
        if !keeps_up {
            let settled = contender.bettors.until_settled().await;
            settled.with_context(|| format!("the {} has too large a backlog", contender.side))?;
        }
        has_kept_up |= keeps_up;
        let Some(next_per_s) = next_rate(rate_per_s, factor, keeps_up, has_kept_up) else { break };
        if next_per_s < RATE_PER_S_MIN {
            bail!("the {} does not keep up with {rate_per_s:.1} bets a second", contender.side);
        }
        rate_per_s = next_per_s;
    }
    Ok(Peak::of(contender.side, steps))
}

/// The next rate, or `None` if the largest is found.
fn next_rate(rate_per_s: f64, factor: f64, keeps_up: bool, has_kept_up: bool) -> Option<f64> {
    match (keeps_up, has_kept_up) {
        (true, _) => (rate_per_s < RATE_PER_S_MAX).then(|| (rate_per_s * factor).min(RATE_PER_S_MAX)),
        (false, true) => None,
        (false, false) => Some(rate_per_s / 2.0),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate_per_s, settled_per_s, errors, latency_ms, .. } = self;
        let errors = kinds(errors);
        write!(f, "{rate_per_s:.1}/s sent, {settled_per_s:.1}/s settled, {latency_ms}, errors {errors}")
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: at most {:.1}/s settled", self.side, self.settled_per_s)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load_generator::load_report::{Kind, Outcome};

    fn step(rate_per_s: f64, settled_per_s: f64, late: u64) -> Step {
        let errors = (late > 0).then(|| ("not_in_time".to_owned(), late)).into_iter().collect();
        let latency_ms = LatencyMs { p50: 5.0, p95: 6.0, p99: 7.0, max: 8.0 };
        Step { rate_per_s, settled_per_s, rejected: 0, errors, latency_ms }
    }

    /// A turn in which the side settled at most this many bets a second.
    pub(in super::super) fn peak(side: Side, settled_per_s: f64) -> Peak {
        let steps = vec![step(settled_per_s, settled_per_s, 0), step(2.0 * settled_per_s, settled_per_s, 9)];
        Peak::of(side, steps)
    }

    #[test]
    fn peak_is_the_largest_settled_rate() {
        let saturated = Peak::of(
            Side::Chain,
            vec![step(100.0, 99.8, 0), step(110.0, 109.5, 0), step(121.0, 104.0, 0), step(121.0, 90.0, 7)],
        );
        assert!(saturated.is_saturated && (saturated.settled_per_s - 109.5).abs() < 1e-9, "{saturated:?}");
        assert!(!Peak::of(Side::Chain, vec![step(100.0, 99.8, 0)]).is_saturated);
    }

    #[test]
    fn late_bets_and_a_backlog_do_not_keep_up() {
        assert!(step(100.0, 96.0, 0).keeps_up());
        assert!(!step(100.0, 94.0, 0).keeps_up(), "the last answers came too late");
        assert!(!step(100.0, 99.0, 1).keeps_up(), "one bet was not settled in time");
    }

    #[test]
    fn side_that_refuses_a_bet_does_not_keep_up() {
        let mut tally = Tally::default();
        for kind in [Kind::Settled; 99].into_iter().chain([Kind::Refused]) {
            tally.add(Outcome { kind, latency: Duration::from_millis(5), trace_id: None });
        }
        let step = Step::of(100.0, &tally, Duration::from_secs(1));
        assert!(!step.keeps_up(), "{step}");
        assert!(step.to_string().contains("refused 1"), "{step}");
    }

    #[test]
    fn rate_rises_until_it_is_too_high() {
        assert_eq!(next_rate(100.0, 1.5, true, true), Some(150.0));
        assert_eq!(next_rate(150.0, 1.5, false, true), None);
        assert_eq!(next_rate(100.0, 1.5, false, false), Some(50.0), "the first rate was too high");
        assert_eq!(next_rate(19_000.0, 1.5, true, true), Some(RATE_PER_S_MAX));
        assert_eq!(next_rate(RATE_PER_S_MAX, 1.5, true, true), None, "the load generator's limit");
    }
}
