//! Conservation: postings move money and never create it. The check must fail for postings that create some.

use money::{Account, Currency, Money, MoneyError, Posting, Postings};
use proptest::prelude::*;

use super::{amount, currency};

/// Transfers between two accounts, like those of every ledger decision.
fn transfers() -> impl Strategy<Value = Vec<Posting>> {
    let transfer = (amount(), "[a-z0-9-]{1,12}").prop_filter_map("has no negative", |(amount, name)| {
        let back = amount.checked_neg().ok()?;
        Some([Posting::new(Account::Player(name.clone()), amount), Posting::new(Account::House(name), back)])
    });
    proptest::collection::vec(transfer, 0..8).prop_map(|pairs| pairs.into_iter().flatten().collect())
}

/// The invariant, computed without the code under test.
fn sum_minor(postings: &[Posting], currency: Currency) -> i128 {
    let of_currency = postings.iter().filter(|posting| posting.amount.currency() == currency);
    of_currency.map(|posting| i128::from(posting.amount.minor())).sum()
}

proptest! {
    #[test]
    fn transfers_balance_in_any_order(postings in transfers().prop_shuffle()) {
        let count = postings.len();
        let balanced = Postings::balanced(postings).unwrap().into_vec();
        prop_assert_eq!(balanced.len(), count);
        for currency in Currency::ALL {
            prop_assert_eq!(sum_minor(&balanced, currency), 0);
        }
    }

    /// One leg is off by some cents. The postings must be refused, whatever the other legs are.
    #[test]
    fn unbalanced_postings_are_refused(
        mut postings in transfers(), off in 1_i64..=1_000_000, currency in currency()
    ) {
        postings.truncate(14);
        postings.push(Posting::new(Account::Suspense, Money::new(off, currency)));
        prop_assert_eq!(Postings::balanced(postings), Err(MoneyError::Unbalanced { currency }));
    }

    #[test]
    fn legs_are_accepted_only_if_sum_is_zero(
        legs in proptest::collection::vec((-3_i64..=3, currency()), 0..6)
    ) {
        let postings: Vec<Posting> = legs
            .into_iter()
            .map(|(minor, currency)| Posting::new(Account::Suspense, Money::new(minor, currency)))
            .collect();
        let zero = Currency::ALL.into_iter().all(|currency| sum_minor(&postings, currency) == 0);
        prop_assert_eq!(Postings::balanced(postings).is_ok(), zero);
    }

    #[test]
    fn account_text_round_trip(name in "[!-~]{1,64}") {
        for account in [Account::Player(name.clone()), Account::House(name.clone()), Account::Provider(name)] {
            prop_assert_eq!(account.to_string().parse::<Account>(), Ok(account));
        }
    }
}

#[test]
fn extremes_do_not_overflow_the_sum() {
    let legs = [i64::MAX, i64::MAX, i64::MIN, i64::MIN, 1, 1];
    let postings =
        legs.map(|minor| Posting::new(Account::Suspense, Money::new(minor, Currency::Eur))).to_vec();
    assert!(Postings::balanced(postings).is_ok());
}

#[test]
fn number_of_postings_is_bounded() {
    assert_eq!(Postings::balanced(Vec::new()), Ok(Postings::none()));
    let leg = Posting::new(Account::Suspense, Money::zero(Currency::Eur));
    assert_eq!(Postings::balanced(vec![leg; 17]), Err(MoneyError::TooManyPostings { limit: 16 }));
}

#[test]
fn invalid_accounts_are_refused() {
    for text in ["", "player", "player:", "player:a b", "bank:x", "Suspense", "player:\u{e9}"] {
        assert!(text.parse::<Account>().is_err(), "{text:?} must be refused");
    }
    assert_eq!("suspense".parse::<Account>(), Ok(Account::Suspense));
    assert_eq!(serde_json::to_string(&Account::House("slots".into())).unwrap(), "\"house:slots\"");
}
