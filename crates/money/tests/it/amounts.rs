//! Arithmetic matches 128-bit arithmetic or returns an error. Text and JSON round trips change nothing.

use money::{Currency, Money, MoneyError};
use proptest::prelude::*;

use super::{amount, currency};

/// Expected 64-bit result of a 128-bit computation.
fn narrowed(wide: i128, currency: Currency) -> Result<Money, MoneyError> {
    i64::try_from(wide).map(|minor| Money::new(minor, currency)).map_err(|_| MoneyError::Overflow)
}

proptest! {
    #[test]
    fn sums_are_exact_or_an_error(left in any::<i64>(), right in any::<i64>(), currency in currency()) {
        let (a, b) = (Money::new(left, currency), Money::new(right, currency));
        prop_assert_eq!(a.checked_add(b), narrowed(i128::from(left) + i128::from(right), currency));
        prop_assert_eq!(a.checked_sub(b), narrowed(i128::from(left) - i128::from(right), currency));
    }

    #[test]
    fn products_and_negation_are_exact_or_error(amount in amount(), factor in any::<u32>()) {
        let wide = i128::from(amount.minor());
        prop_assert_eq!(amount.checked_mul(factor), narrowed(wide * i128::from(factor), amount.currency()));
        prop_assert_eq!(amount.checked_neg(), narrowed(-wide, amount.currency()));
    }

    #[test]
    fn mixed_currencies_are_refused(left in amount(), right in amount()) {
        let mixed = left.currency() != right.currency();
        let refused = matches!(left.checked_add(right), Err(MoneyError::CurrencyMismatch { .. }));
        prop_assert_eq!(mixed, refused);
        prop_assert_eq!(mixed, matches!(left.checked_sub(right), Err(MoneyError::CurrencyMismatch { .. })));
    }

    #[test]
    fn subtraction_reverts_addition(left in amount(), minor in any::<i64>()) {
        let right = Money::new(minor, left.currency());
        if let Ok(sum) = left.checked_add(right) {
            prop_assert_eq!(sum.checked_sub(right), Ok(left));
        }
    }

    #[test]
    fn text_round_trip(amount in amount()) {
        prop_assert_eq!(amount.to_string().parse::<Money>(), Ok(amount));
    }

    #[test]
    fn json_round_trip(amount in amount()) {
        let json = serde_json::to_string(&amount).unwrap();
        prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), amount);
    }

    #[test]
    fn any_text_round_trips_or_is_refused(text in "[-+]?[0-9]{0,20}[.]?[0-9]{0,3} ?[A-Z]{0,4}") {
        if let Ok(amount) = text.parse::<Money>() {
            // Only leading zeros and a negative zero are parsed without being what `Display` would write.
            let trimmed = text.trim_start_matches('-').trim_start_matches('0');
            prop_assert!(amount.to_string().contains(trimmed), "{text} was read as {amount}");
        }
    }
}

#[test]
fn display_has_all_minor_digits() {
    let written = [
        (Money::new(1_234, Currency::Eur), "12.34 EUR"),
        (Money::new(-5, Currency::Usd), "-0.05 USD"),
        (Money::new(0, Currency::Sek), "0.00 SEK"),
        (Money::new(i64::MIN, Currency::Gbp), "-92233720368547758.08 GBP"),
    ];
    for (amount, text) in written {
        assert_eq!(amount.to_string(), text);
    }
}

#[test]
fn malformed_texts_are_refused() {
    for text in [
        "",
        "12",
        "12.3 EUR",
        "12.345 EUR",
        "12.34 eur",
        "12.34EUR",
        "+1.00 EUR",
        "1e2 EUR",
        ".10 EUR",
        "1.+1 EUR",
    ] {
        assert!(text.parse::<Money>().is_err(), "{text:?} must be refused");
    }
    assert_eq!("92233720368547758.08 EUR".parse::<Money>(), Err(MoneyError::Overflow));
}

#[test]
fn json_accepts_only_valid_amounts() {
    for json in [
        r#"{"minor":1.5,"currency":"EUR"}"#,
        r#"{"minor":1,"currency":"eur"}"#,
        r#"{"minor":1,"currency":"XXX"}"#,
        r#"{"minor":1}"#,
        r#"{"minor":1,"currency":"EUR","scale":3}"#,
    ] {
        assert!(serde_json::from_str::<Money>(json).is_err(), "{json} must be refused");
    }
}
