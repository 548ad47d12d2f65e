//! Property tests: the totals do not depend on how facts are split into buckets and buckets are merged.

use analytics::domain::fact::Kind;
use analytics::domain::totals::Totals;
use proptest::prelude::*;

fn fact() -> impl Strategy<Value = Totals> {
    let amount = 0_i64..1_000_000_000;
    (0..Kind::ALL.len(), amount.clone(), amount)
        .prop_map(|(kind, came, left)| Totals::of(Kind::ALL[kind], 1, came, left))
}

fn sum(facts: &[Totals]) -> Totals {
    facts.iter().copied().fold(Totals::default(), Totals::merge)
}

proptest! {
    #[test]
    fn merge_is_independent_of_buckets(facts in prop::collection::vec(fact(), 0..60), cut in 0_usize..60) {
        let (one, other) = facts.split_at(cut.min(facts.len()));
        prop_assert_eq!(sum(one).merge(sum(other)), sum(&facts));
        prop_assert_eq!(sum(other).merge(sum(one)), sum(&facts));
    }

    /// Checks the number of facts, which protects a rollup, and that every kind is counted.
    #[test]
    fn every_fact_counts_once(facts in prop::collection::vec(fact(), 0..60)) {
        prop_assert_eq!(usize::try_from(sum(&facts).facts), Ok(facts.len()));
        for kind in Kind::ALL {
            let one = Totals::of(kind, 1, 0, 0);
            prop_assert_ne!(one, Totals { facts: 1, ..Totals::default() }, "{:?} counts nowhere", kind);
        }
    }
}
