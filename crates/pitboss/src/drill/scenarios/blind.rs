//! One fault without its name, which the person finds from the dashboards alone.

use faults::FaultId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::drill::{Break, Scenario, Step};
use crate::verify::Arrives;

pub(super) const NAME: &str = "blind";

/// `None` only if this platform could apply no fault at all.
pub(super) fn scenario(seed: u64, has_supervisor: bool) -> Option<Scenario> {
    let broken = candidates(has_supervisor).choose(&mut StdRng::seed_from_u64(seed))?.clone();
    let told = Step::Say(
        "One fault is armed, and its name is hidden. The load runs until you name it. Use what an engineer on call has: the pages \
         of the recorder or Sentry, ./pitboss lag, ./pitboss dlq list, ./pitboss status and ./pitboss audit. Three things would give \
         it away: ./pitboss fault status, the attributes flag.evaluation.* of spans, and the flags of issues.",
    );
    let steps = vec![
        told,
        Step::Load(broken.row.workload),
        Step::Arm(Box::new(Break { is_hidden: true, ..broken })),
        Step::Guess,
        Step::Heal,
        Step::Audit,
    ];
    Some(Scenario { name: NAME, title: "a fault without its name, found from the dashboards", steps })
}

/// The faults that show within seconds, and while they are armed.
fn candidates(has_supervisor: bool) -> Vec<Break> {
    let all = FaultId::ALL.into_iter().map(Break::of);
    let is_shown = |broken: &Break| !broken.row.is_slow && broken.row.arrives == Arrives::WhileArmed;
    all.filter(|broken| is_shown(broken) && (has_supervisor || !broken.needs_supervisor())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chosen(seed: u64, has_supervisor: bool) -> Break {
        let scenario = scenario(seed, has_supervisor).unwrap();
        let armed = scenario.steps.into_iter().find_map(|step| match step {
            Step::Arm(broken) => Some(*broken),
            _ => None,
        });
        armed.unwrap()
    }

    #[test]
    fn seed_chooses_the_fault() {
        assert_eq!(chosen(7, true).fault(), chosen(7, true).fault());
        let chosen: BTreeSet<FaultId> = (0..40).map(|seed| chosen(seed, true).fault()).collect();
        assert!(chosen.len() > 5, "{chosen:?}");
    }

    #[test]
    fn fault_is_hidden_and_possible() {
        for seed in 0..100 {
            let broken = chosen(seed, false);
            assert!(broken.is_hidden && !broken.needs_supervisor(), "{}", broken.fault());
        }
        assert!(candidates(true).len() > candidates(false).len());
        assert!(candidates(true).iter().all(|broken| broken.fault() != FaultId::SentryDown));
    }
}
