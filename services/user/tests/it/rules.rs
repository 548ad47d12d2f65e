//! Tests of the rules alone.

use contracts::KycStatus;
use money::{Currency, Money};
use proptest::prelude::*;
use user::domain::standing::{kyc_name, kyc_named};
use user::domain::{Change, Outcome, Refusal, Standing};

const NOW_MS: i64 = 1_793_534_400_000;

fn limit() -> impl Strategy<Value = Option<Money>> {
    proptest::option::of((-5_i64..100_000).prop_map(|minor| Money::new(minor, Currency::Eur)))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (limit(), limit()).prop_map(|(max_stake, daily_loss)| Change::Limits { max_stake, daily_loss }),
        (-1_000_i64..1_000_000_000_000)
            .prop_map(|ahead| Change::SelfExclusion { until_epoch_ms: NOW_MS + ahead }),
        any::<bool>().prop_map(|email_enabled| Change::Preferences { email_enabled }),
        proptest::sample::select(vec![KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected])
            .prop_map(|status| Change::Kyc { status }),
    ]
}

/// Accepts every exclusion, as a counter-example without the rule that protects an excluded player.
fn decide_without_rule(change: &Change, standing: &Standing) -> Standing {
    match *change {
        Change::SelfExclusion { until_epoch_ms } => {
            Standing { self_excluded_until_epoch_ms: Some(until_epoch_ms), ..*standing }
        }
        _ => *standing,
    }
}

/// True when an exclusion was ever shortened in this sequence.
fn ever_shortened(changes: &[Change], decide: impl Fn(&Change, &Standing) -> Standing) -> bool {
    let mut standing = Standing::NEW;
    let mut shortened = false;
    for change in changes {
        let after = decide(change, &standing);
        shortened |= after.self_excluded_until_epoch_ms < standing.self_excluded_until_epoch_ms;
        standing = after;
    }
    shortened
}

proptest! {
    #[test]
    fn exclusion_is_never_shortened(changes in proptest::collection::vec(change(), 0..30)) {
        let decide = |change: &Change, standing: &Standing| change.decide(standing, NOW_MS).unwrap_or(*standing);
        prop_assert!(!ever_shortened(&changes, decide));
    }

    #[test]
    fn accepted_change_has_valid_event(change in change()) {
        if change.decide(&Standing::NEW, NOW_MS).is_ok() {
            prop_assert_eq!(change.message("p-1").validate(), Ok(()));
        }
    }

    #[test]
    fn change_affects_only_its_own_fields(change in change()) {
        let before = Standing { max_stake: Some(Money::new(7, Currency::Sek)), ..Standing::NEW };
        if let Ok(after) = change.decide(&before, NOW_MS) {
            let limits_kept = after.max_stake == before.max_stake && after.daily_loss == before.daily_loss;
            let (is_limits, is_kyc) = (change.route() == "user/limits", change.route() == "user/kyc-status");
            prop_assert!(limits_kept || is_limits);
            prop_assert!(after.kyc_status == before.kyc_status || is_kyc);
        }
    }
}

#[test]
fn shortened_exclusion_is_detected() {
    let changes = [200_000, 100_000].map(|ahead| Change::SelfExclusion { until_epoch_ms: NOW_MS + ahead });
    assert!(ever_shortened(&changes, decide_without_rule), "the check must detect it");
}

#[test]
fn invalid_changes_are_refused() {
    let decide = |change: Change| change.decide(&Standing::NEW, NOW_MS);
    let limit =
        |minor| Change::Limits { max_stake: Some(Money::new(minor, Currency::Eur)), daily_loss: None };
    assert_eq!(decide(limit(0)), Err(Refusal::LimitNotPositive));
    assert_eq!(decide(limit(-1)), Err(Refusal::LimitNotPositive));
    assert!(decide(limit(1_000_000_000_000)).is_ok());
    assert_eq!(decide(limit(1_000_000_000_001)), Err(Refusal::LimitTooHigh));
    let until = |until_epoch_ms| Change::SelfExclusion { until_epoch_ms };
    assert_eq!(decide(until(NOW_MS)), Err(Refusal::ExclusionInThePast));
    assert_eq!(decide(until(NOW_MS + 1)), Err(Refusal::ExclusionTooShort));
    assert_eq!(decide(until(NOW_MS + 59_999)), Err(Refusal::ExclusionTooShort));
    assert!(decide(until(NOW_MS + 60_000)).is_ok());
    assert_eq!(decide(until(i64::MAX)), Err(Refusal::ExclusionTooLong));
    let excluded = Standing { self_excluded_until_epoch_ms: Some(NOW_MS + 90_000), ..Standing::NEW };
    assert_eq!(until(NOW_MS + 89_999).decide(&excluded, NOW_MS), Err(Refusal::ExclusionShorter));
    assert!(until(NOW_MS + 90_000).decide(&excluded, NOW_MS).is_ok());
}

#[test]
fn only_void_supersedes_other_outcome() {
    for known in Outcome::ALL {
        for new in Outcome::ALL {
            let expected = new == Outcome::Voided && known != Outcome::Voided;
            assert_eq!(new.supersedes(known), expected, "{new:?} after {known:?}");
        }
    }
}

#[test]
fn status_names_round_trip() {
    for status in [KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected] {
        assert_eq!(kyc_named(kyc_name(status)), Some(status));
    }
    assert_eq!(kyc_named("Verified"), None);
}
