//! Properties of amounts and postings, with counter-examples that are broken on purpose.

mod amounts;
mod postings;

use money::{Currency, Money};
use proptest::prelude::*;

fn currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(Currency::ALL.to_vec())
}

/// Any amount, including the extremes.
fn amount() -> impl Strategy<Value = Money> {
    let minor = prop_oneof![
        8 => any::<i64>(),
        4 => -10_000_i64..10_000,
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
        1 => Just(0),
    ];
    (minor, currency()).prop_map(|(minor, currency)| Money::new(minor, currency))
}
