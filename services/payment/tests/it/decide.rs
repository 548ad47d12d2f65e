//! Decisions for random accounts and random sequences of commands.

use std::collections::BTreeMap;

use contracts::{EventId, RejectReason};
use money::{Account, Currency, Money, Posting};
use payment::domain::{
    AccountState, Command, DecideError, LimitSet, Outcome, PaymentKind, PendingPayment, ProviderReport,
    Wager, WagerVoid, decide,
};
use proptest::prelude::*;

const DAY_MS: i64 = 86_400_000;

fn id(text: &str) -> EventId {
    text.parse().unwrap()
}

fn currency() -> impl Strategy<Value = Currency> {
    prop_oneof![Just(Currency::Eur), Just(Currency::Usd)]
}

fn limits() -> impl Strategy<Value = LimitSet> {
    let limit = || prop::option::of((1_i64..500, currency()).prop_map(|(minor, c)| Money::new(minor, c)));
    (limit(), limit()).prop_map(|(max_stake, daily_loss)| LimitSet { max_stake, daily_loss })
}

fn account() -> impl Strategy<Value = AccountState> {
    let balances = prop::collection::btree_map(currency(), 0_i64..2_000, 0..=2);
    (balances, limits(), prop::option::of(0_i64..4 * DAY_MS)).prop_map(
        |(balances, limits, self_excluded_until_ms)| AccountState {
            balances,
            limits: limits.into(),
            self_excluded_until_ms,
            ..AccountState::new("p")
        },
    )
}

fn wager() -> impl Strategy<Value = Wager> {
    (1_i64..600, 0_i64..3_000, currency()).prop_map(|(stake, payout, c)| Wager {
        wager_id: id("w"),
        game: "slots".to_owned(),
        stake: Money::new(stake, c),
        payout: Money::new(payout, c),
    })
}

fn void() -> impl Strategy<Value = WagerVoid> {
    (prop::bool::ANY, wager()).prop_map(|(applied, wager)| {
        let (player, house) = (Account::Player("p".into()), Account::House("slots".into()));
        let leg = |account: &Account, minor| {
            Posting::new(account.clone(), Money::new(minor, wager.stake.currency()))
        };
        let (stake, payout) = (wager.stake.minor(), wager.payout.minor());
        let moved = if applied {
            vec![leg(&player, -stake), leg(&house, stake), leg(&house, -payout), leg(&player, payout)]
        } else {
            Vec::new()
        };
        WagerVoid { wager_id: id("w"), reason: "because".to_owned(), moved, decided_at_ms: Some(0) }
    })
}

fn pending() -> impl Strategy<Value = PendingPayment> {
    let kind = prop_oneof![Just(PaymentKind::Deposit), Just(PaymentKind::Withdrawal)];
    (kind, 1_i64..3_000, currency())
        .prop_map(|(kind, minor, c)| PendingPayment { kind, amount: Money::new(minor, c) })
}

fn command() -> impl Strategy<Value = Command> {
    let report = (pending(), prop::bool::ANY).prop_map(|(pending, captured)| {
        Command::SettlePayment(ProviderReport {
            payment_id: id("d"),
            pending,
            captured,
            provider_reference: "ref".to_owned(),
            amount: pending.amount,
        })
    });
    prop_oneof![
        6 => wager().prop_map(Command::ApplyWager),
        2 => void().prop_map(Command::VoidWager),
        2 => pending().prop_map(|payment| Command::RequestPayment { payment_id: id("d"), payment }),
        2 => report,
        1 => (0..3_i64 * DAY_MS).prop_map(|until_ms| Command::SelfExclude { cause_id: id("x"), until_ms }),
        1 => limits().prop_map(changed_limits),
    ]
}

/// Returns a change of all limits whose looser ones wait for a day.
fn changed_limits(limits: LimitSet) -> Command {
    Command::SetLimits { cause_id: id("l"), limits, loosen_after_ms: DAY_MS }
}

/// Returns true if every bet in their currency that `was` forbids is forbidden by `is`. A wish is in force at once as far as it is
/// stricter, and behind a stricter one otherwise.
fn binds_as_before(was: Option<Money>, is: Option<Money>) -> bool {
    was.is_none_or(|was| is.is_some_and(|is| is.minor() <= was.minor()))
}

/// Returns the old balances plus the player's postings.
fn expected(before: &AccountState, postings: &money::Postings) -> BTreeMap<Currency, i64> {
    let mut balances = before.balances.clone();
    for leg in postings.iter().filter(|leg| leg.account == Account::Player(before.player_id.clone())) {
        *balances.entry(leg.amount.currency()).or_insert(0) += leg.amount.minor();
    }
    balances
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_conserves_money(
        start in account(),
        commands in prop::collection::vec((command(), 0_i64..4 * DAY_MS), 1..20),
    ) {
        let mut state = start;
        for (command, at_ms) in commands {
            if matches!(command, Command::SelfExclude { until_ms, .. } if until_ms <= at_ms) {
                prop_assert_eq!(decide(&state, &command, at_ms), Err(DecideError::ExclusionIsOver));
                continue;
            }
            let decision = decide(&state, &command, at_ms).expect("every honest command can be decided");
            let again = decide(&state, &command, at_ms).unwrap();
            prop_assert_eq!(&decision, &again, "the same state and command give the same decision");
            let sum: i128 = decision.postings.iter().map(|leg| i128::from(leg.amount.minor())).sum();
            prop_assert_eq!(sum, 0);
            prop_assert_eq!(&decision.account.balances, &expected(&state, &decision.postings));
            prop_assert!(decision.account.balances.values().all(|minor| *minor >= 0));
            prop_assert_eq!(decision.account.next_seq, state.next_seq + 1);
            prop_assert_eq!(decision.message.is_none(), decision.outcome == Outcome::Pending);
            prop_assert_eq!(decision.pending.is_some(), decision.outcome == Outcome::Pending);
            if let Some(message) = &decision.message {
                prop_assert!(message.validate().is_ok(), "{:?}", message);
            }
            if decision.is_rejection() {
                prop_assert!(decision.postings.is_empty());
                let unchanged = AccountState { next_seq: decision.account.next_seq, ..state.clone() };
                prop_assert_eq!(&decision.account, &unchanged, "a rejection changes nothing");
            }
            if let Command::SetLimits { limits: wished, .. } = &command {
                for currency in Currency::ALL {
                    let was = state.limits_at(currency, at_ms);
                    let is = decision.account.limits_at(currency, at_ms);
                    let wish = |limit: Option<Money>| limit.filter(|limit| limit.currency() == currency);
                    prop_assert!(binds_as_before(was.max_stake, is.max_stake), "{:?} {:?}", was, is);
                    prop_assert!(binds_as_before(was.daily_loss, is.daily_loss), "{:?} {:?}", was, is);
                    prop_assert!(binds_as_before(wish(wished.max_stake), is.max_stake), "{:?} {:?}", wished, is);
                    prop_assert!(binds_as_before(wish(wished.daily_loss), is.daily_loss), "{:?} {:?}", wished, is);
                }
            }
            let must_land = matches!(command, Command::SettlePayment(_) | Command::VoidWager(_));
            prop_assert!(!must_land || !decision.is_rejection(), "wins and rollbacks always land");
            state = decision.account;
        }
    }
}

fn bet(stake: i64, payout: i64) -> Command {
    bet_in(Currency::Eur, stake, payout)
}

fn bet_in(currency: Currency, stake: i64, payout: i64) -> Command {
    Command::ApplyWager(Wager {
        wager_id: id("w"),
        game: "slots".into(),
        stake: Money::new(stake, currency),
        payout: Money::new(payout, currency),
    })
}

fn holding(minor: i64) -> AccountState {
    AccountState { balances: [(Currency::Eur, minor)].into(), ..AccountState::new("p") }
}

#[test]
fn each_rejection_has_its_reason() {
    let reason = |state: &AccountState, command: &Command| match decide(state, command, 10).unwrap().outcome {
        Outcome::Rejected(reason) => Some(reason),
        _ => None,
    };
    let eur = |minor| Money::new(minor, Currency::Eur);
    assert_eq!(reason(&AccountState::new("p"), &bet(1, 0)), Some(RejectReason::CurrencyNotHeld));
    assert_eq!(reason(&holding(9), &bet(10, 500)), Some(RejectReason::InsufficientFunds));
    assert_eq!(reason(&holding(10), &bet(10, 0)), None);
    let excluded = AccountState { self_excluded_until_ms: Some(11), ..holding(10) };
    assert_eq!(reason(&excluded, &bet(1, 0)), Some(RejectReason::SelfExcluded));
    let excluded_before = AccountState { self_excluded_until_ms: Some(10), ..holding(10) };
    assert_eq!(reason(&excluded_before, &bet(1, 0)), None);
    let limits = LimitSet { max_stake: Some(eur(5)), daily_loss: None }.into();
    let limited = AccountState { limits, ..holding(10) };
    assert_eq!(reason(&limited, &bet(6, 0)), Some(RejectReason::LimitExceeded));
    assert_eq!(reason(&limited, &bet(5, 0)), None);
}

#[test]
fn daily_limit_counts_losses_minus_wins_of_today() {
    let eur = |minor| Money::new(minor, Currency::Eur);
    let limits = LimitSet { max_stake: None, daily_loss: Some(eur(100)) }.into();
    let state = AccountState { limits, ..holding(1_000) };
    let after = decide(&state, &bet(60, 0), 0).unwrap().account;
    assert!(
        decide(&after, &bet(41, 900), 1).unwrap().is_rejection(),
        "the payout does not decide about the limit"
    );
    assert!(!decide(&after, &bet(40, 0), 1).unwrap().is_rejection());
    assert!(!decide(&after, &bet(41, 0), DAY_MS).unwrap().is_rejection(), "a new day");
    let won = decide(&after, &bet(10, 50), 1).unwrap().account;
    assert!(!decide(&won, &bet(80, 0), 2).unwrap().is_rejection());
}

/// Returns a player who holds 1 000 and has wished for these largest stakes, each at its time.
fn after_wishes(wishes: &[(Option<Money>, i64)]) -> AccountState {
    wishes.iter().fold(holding(1_000), |state, (max_stake, at_ms)| {
        let limits = LimitSet { max_stake: *max_stake, daily_loss: None };
        decide(&state, &changed_limits(limits), *at_ms).unwrap().account
    })
}

fn is_refused(state: &AccountState, stake: i64, at_ms: i64) -> bool {
    decide(state, &bet(stake, 0), at_ms).unwrap().outcome == Outcome::Rejected(RejectReason::LimitExceeded)
}

#[test]
fn looser_limit_counts_after_wait() {
    let eur = |minor| Some(Money::new(minor, Currency::Eur));
    for looser in [eur(200), None, Some(Money::new(1, Currency::Usd))] {
        let state = after_wishes(&[(eur(100), 0), (looser, 5)]);
        for (at_ms, refused) in [(5, true), (4 + DAY_MS, true), (5 + DAY_MS, false)] {
            assert_eq!(is_refused(&state, 150, at_ms), refused, "{looser:?} at {at_ms}");
        }
        assert!(!is_refused(&state, 100, 5), "the old limit binds and no other");
    }
}

#[test]
fn stricter_limit_counts_at_once() {
    let eur = |minor| Some(Money::new(minor, Currency::Eur));
    let state = after_wishes(&[(eur(100), 0), (eur(200), 5), (eur(80), 6)]);
    for at_ms in [6, 5 + DAY_MS, 6 + DAY_MS] {
        assert!(is_refused(&state, 81, at_ms), "the raise is withdrawn, at {at_ms}");
        assert!(!is_refused(&state, 80, at_ms), "{at_ms}");
    }
    let stricter_than_raised = after_wishes(&[(eur(100), 0), (eur(200), 5), (eur(150), 5 + DAY_MS)]);
    assert!(is_refused(&stricter_than_raised, 151, 5 + DAY_MS));
    assert!(!is_refused(&stricter_than_raised, 150, 5 + DAY_MS));
}

#[test]
fn changed_wish_waits_anew() {
    let eur = |minor| Some(Money::new(minor, Currency::Eur));
    let changed = after_wishes(&[(eur(100), 0), (eur(300), 5), (eur(200), 10)]);
    assert!(is_refused(&changed, 150, 9 + DAY_MS));
    assert!(!is_refused(&changed, 150, 10 + DAY_MS));
    assert!(is_refused(&changed, 250, 10 + DAY_MS), "the first wish is replaced");
    let repeated = after_wishes(&[(eur(100), 0), (eur(200), 5), (eur(200), 10)]);
    assert!(!is_refused(&repeated, 150, 5 + DAY_MS), "the same wish keeps its time");
}

#[test]
fn each_limit_waits_for_itself() {
    let eur = |minor| Some(Money::new(minor, Currency::Eur));
    let set = |state: &AccountState, max_stake, daily_loss, at_ms| {
        let limits = LimitSet { max_stake, daily_loss };
        decide(state, &changed_limits(limits), at_ms).unwrap().account
    };
    let state = set(&holding(1_000), eur(100), eur(500), 0);
    let mixed = set(&state, eur(50), eur(900), 5);
    let at = |state: &AccountState, at_ms| state.limits_at(Currency::Eur, at_ms);
    assert_eq!(at(&mixed, 5), LimitSet { max_stake: eur(50), daily_loss: eur(500) });
    let stricter = set(&mixed, eur(40), eur(900), 10);
    let later = LimitSet { max_stake: eur(40), daily_loss: eur(900) };
    assert_eq!(at(&stricter, 5 + DAY_MS), later, "the stricter stake does not delay the looser loss");
    assert_eq!(at(&stricter, 4 + DAY_MS).daily_loss, eur(500));
}

/// A limit in another currency removes the old one, which is looser, so both bind until the wait has ended.
#[test]
fn first_limit_in_currency_counts_at_once() {
    let in_both = AccountState {
        balances: [(Currency::Eur, 1_000), (Currency::Sek, 1_000)].into(),
        ..AccountState::new("p")
    };
    let limits = |limit: Money| LimitSet { max_stake: Some(limit), daily_loss: Some(limit) };
    let set = |state: &AccountState, limit, at_ms| {
        decide(state, &changed_limits(limits(limit)), at_ms).unwrap().account
    };
    let refused = |state: &AccountState, currency, stake, at_ms| {
        decide(state, &bet_in(currency, stake, 0), at_ms).unwrap().is_rejection()
    };
    let (eur, sek) = (Money::new(100, Currency::Eur), Money::new(20, Currency::Sek));
    let state = set(&set(&in_both, eur, 0), sek, 5);
    for at_ms in [5, 4 + DAY_MS] {
        assert!(refused(&state, Currency::Sek, 21, at_ms), "the new one counts at {at_ms}");
        assert!(!refused(&state, Currency::Sek, 20, at_ms));
        assert!(refused(&state, Currency::Eur, 101, at_ms), "the old one counts at {at_ms}");
        assert!(!refused(&state, Currency::Eur, 100, at_ms));
    }
    assert!(refused(&state, Currency::Sek, 21, 5 + DAY_MS));
    assert!(!refused(&state, Currency::Eur, 101, 5 + DAY_MS), "the old one is removed");

    let repeated = set(&state, sek, 10);
    assert!(!refused(&repeated, Currency::Eur, 101, 5 + DAY_MS), "the same wish keeps the time");
    let back = set(&state, eur, 10);
    assert!(refused(&back, Currency::Eur, 101, 10 + DAY_MS), "the removal is withdrawn");
    assert!(refused(&back, Currency::Sek, 21, 9 + DAY_MS), "and that of the other one waits");
    assert!(!refused(&back, Currency::Sek, 21, 10 + DAY_MS));
}

#[test]
fn void_of_spent_win_is_paid_by_suspense() {
    let (player, house) = (Account::Player("p".into()), Account::House("slots".into()));
    let leg = |account: &Account, minor| Posting::new(account.clone(), Money::new(minor, Currency::Eur));
    let moved = vec![leg(&player, -10), leg(&house, 10), leg(&house, -500), leg(&player, 500)];
    let void =
        Command::VoidWager(WagerVoid { wager_id: id("w"), reason: "bug".into(), moved, decided_at_ms: None });
    let decision = decide(&holding(90), &void, 0).unwrap();
    assert_eq!(decision.account.balances[&Currency::Eur], 0);
    let suspense: i64 = decision
        .postings
        .iter()
        .filter(|leg| leg.account == Account::Suspense)
        .map(|leg| leg.amount.minor())
        .sum();
    assert_eq!(suspense, -400);
}
