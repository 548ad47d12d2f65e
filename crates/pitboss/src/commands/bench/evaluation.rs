//! `pitboss bench faults`: measures what the question whether a fault is active costs while nothing is armed.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use faults::request::BAGGAGE_KEY;
use faults::{FaultId, Faults, Options, Subject};
use serde::Serialize;
use telemetry::propagation::baggage_entry;

/// Largest time of one question in nanoseconds. A bet asks less than a hundred, which stays below a hundredth of a millisecond.
const QUESTION_NS_MAX: f64 = 100.0;

/// Arguments of `bench faults`.
#[derive(Debug, Args)]
pub(super) struct FaultsArgs {
    /// Number of questions in one measurement
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    questions: u32,
    /// Number of rounds, each measuring loop, question, question, loop
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Result of the benchmark. Every list has one value for each measurement.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    bench: &'static str,
    questions: u32,
    /// Time of one turn of an empty loop.
    loop_ns: Vec<f64>,
    /// Time of one turn with a question.
    question_ns: Vec<f64>,
    /// Median with a question less the median of the empty loop.
    cost_ns: f64,
    cost_ns_max: f64,
}

/// Runs the benchmark in this process.
pub(super) fn measure(args: &FaultsArgs) -> Result<Measured> {
    let folder = tempfile::tempdir().context("cannot create a folder for the flag file")?;
    // Watched as in a service: the question reads what the thread that watches the file writes.
    let faults = Faults::watch(Options {
        file: folder.path().join("faults.json"),
        service: "bench",
        release: String::new(),
        // With a secret, as in a platform: each question looks for faults in the baggage of its request.
        secret: vec![7; 32],
    });
    let empty = || per_turn_ns(args.questions, || black_box(false));
    let question = || {
        per_turn_ns(args.questions, || {
            let faults = black_box(&faults);
            let request = if faults.reads_requests() { baggage_entry(BAGGAGE_KEY) } else { None };
            let subject =
                Subject { player_id: Some("player"), key: Some("key"), request: request.as_deref() };
            faults.active(black_box(FaultId::ConsumerSlow), black_box(&subject)).is_some()
        })
    };
    let (mut loop_ns, mut question_ns) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        loop_ns.push(empty());
        question_ns.extend([question(), question()]);
        loop_ns.push(empty());
    }
    let cost_ns = (super::median(&question_ns) - super::median(&loop_ns)).max(0.0);
    let questions = args.questions;
    Ok(Measured { bench: "faults", questions, loop_ns, question_ns, cost_ns, cost_ns_max: QUESTION_NS_MAX })
}

/// Time of one turn in nanoseconds.
fn per_turn_ns(turns: u32, turn: impl Fn() -> bool) -> f64 {
    let began_at = Instant::now();
    for _ in 0..turns {
        black_box(turn());
    }
    began_at.elapsed().as_secs_f64() * 1e9 / f64::from(turns)
}

impl Measured {
    /// Returns true if the question costs no measurable part of a bet.
    pub(super) fn holds(&self) -> bool {
        self.cost_ns <= self.cost_ns_max
    }

    pub(super) fn to_text(&self) -> String {
        let list = |values: &[f64]| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            values.join(" ")
        };
        format!(
            "with nothing armed, in ns: empty loop {} · with `Faults::active` {} · difference of medians {:.2} (at most {})\n",
            list(&self.loop_ns),
            list(&self.question_ns),
            self.cost_ns,
            self.cost_ns_max,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_has_two_values_of_each_kind() {
        let measured = measure(&FaultsArgs { questions: 1_000, rounds: 2 }).unwrap();
        assert_eq!((measured.loop_ns.len(), measured.question_ns.len()), (4, 4));
        assert!(measured.question_ns.iter().all(|ns| *ns > 0.0), "{measured:?}");
        let limit = Measured { cost_ns: QUESTION_NS_MAX + 0.1, ..measured };
        assert!(!limit.holds() && limit.to_text().contains("100.10 (at most 100)"), "{}", limit.to_text());
    }
}
