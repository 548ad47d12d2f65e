//! Whether the settled bets became complete traces in the recorder, as `./pitboss load` checks it.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use super::turn::Turn;
use crate::commands::bench::platform::Side;
use crate::commands::load;
use crate::load_generator::load_report::Traces;
use crate::output::Output;
use crate::target::Target;

/// Number of defects that are kept.
const DEFECTS_MAX: usize = 5;

/// Traces of the settled bets of B, with those of the warm-ups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Whole {
    /// Settled bets.
    pub(super) settled: u64,
    /// Those of them whose trace is complete in the recorder: one root, no orphan, every edge of one bet.
    pub(super) complete: u64,
    /// The first incomplete traces, with a defect of each.
    pub(super) first_defects: Vec<String>,
}

impl Whole {
    /// Looks for the traces of a round. Nothing is measured meanwhile.
    ///
    /// # Errors
    /// When the traces cannot be checked.
    pub(super) async fn add_round(
        &mut self,
        turns: &[Turn; 4],
        target: &Target,
        output: &Output,
    ) -> Result<()> {
        let of_b = turns.iter().filter(|turn| turn.bets.side == Side::B).map(|turn| &turn.settled);
        let bets = of_b.clone().map(|settled| settled.bets).sum();
        let trace_ids: Vec<String> = of_b.flat_map(|settled| settled.trace_ids.iter().cloned()).collect();
        self.add(bets, load::check_traces(target, output, &trace_ids).await?);
        Ok(())
    }

    /// Adds settled bets and their traces. A bet that named no trace has no complete one.
    fn add(&mut self, settled: u64, traces: Traces) {
        self.settled += settled;
        self.complete += traces.complete as u64;
        let room = DEFECTS_MAX.saturating_sub(self.first_defects.len());
        self.first_defects.extend(traces.first_defects.into_iter().take(room));
    }

    /// Says that a trace is not complete. `None` if all are.
    pub(super) fn problem(&self) -> Option<String> {
        let Self { settled, complete, first_defects } = self;
        if *settled > 0 && settled == complete {
            return None;
        }
        let first = first_defects.first().map_or("a bet named no trace", String::as_str);
        Some(format!("only {complete} of {settled} traces of settled bets are complete: {first}"))
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settled, complete, .. } = self;
        let percent = *complete as f64 * 100.0 / *settled as f64;
        write!(f, "{complete} of {settled} ({percent:.2} %)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(complete: usize, defects: usize) -> Traces {
        let first_defects = (0..defects).map(|number| format!("trace {number}: no root")).collect();
        Traces { answered: complete + defects, complete, first_defects, ..Traces::default() }
    }

    #[test]
    fn every_settled_bet_needs_a_complete_trace() {
        let mut whole = Whole::default();
        assert!(whole.problem().is_some(), "nothing was settled");
        whole.add(360, traces(360, 0));
        assert_eq!((whole.problem(), whole.to_string()), (None, "360 of 360 (100.00 %)".to_owned()));
        whole.add(40, traces(39, 0));
        let problem = whole.problem().unwrap();
        assert_eq!(problem, "only 399 of 400 traces of settled bets are complete: a bet named no trace");
        whole.add(100, traces(97, 3));
        whole.add(100, traces(97, 3));
        let problem = whole.problem().unwrap();
        assert!(problem.starts_with("only 593 of 600") && problem.ends_with("trace 0: no root"), "{problem}");
        assert_eq!(whole.first_defects.len(), DEFECTS_MAX);
    }
}
