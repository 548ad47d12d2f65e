//! However facts are split into buckets and buckets merged, the totals are the same.

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
    fn merging_does_not_depend_on_the_buckets(facts in prop::collection::vec(fact(), 0..60), cut in 0_usize..60) {
        let (one, other) = facts.split_at(cut.min(facts.len()));
        prop_assert_eq!(sum(one).merge(sum(other)), sum(&facts));
        prop_assert_eq!(sum(other).merge(sum(one)), sum(&facts));
    }

    /// The number that guards a rollup: a kind that counted in no field, or in two, would make it lie.
    #[test]
    fn every_fact_counts_once(facts in prop::collection::vec(fact(), 0..60)) {
        prop_assert_eq!(usize::try_from(sum(&facts).facts()), Ok(facts.len()));
    }
}
