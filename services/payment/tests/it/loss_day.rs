//! Daily losses: a void reverses its part, and days never go back.

use contracts::EventId;
use money::{Account, Currency, Money, Posting};
use payment::domain::{AccountState, Command, LimitSet, LossDay, Wager, WagerVoid, decide};

const DAY_MS: i64 = 86_400_000;
/// Shortly after midnight.
const MORNING_MS: i64 = 20 * DAY_MS + 5;

fn wager_id() -> EventId {
    "w".parse().unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::Eur)
}

fn bet(stake: i64, payout: i64) -> Command {
    let wager = Wager { wager_id: wager_id(), game: "slots".into(), stake: eur(stake), payout: eur(payout) };
    Command::ApplyWager(wager)
}

/// Returns an account that holds `minor` and may lose 100 a day.
fn player(minor: i64) -> AccountState {
    AccountState {
        balances: [(Currency::Eur, minor)].into(),
        limits: LimitSet { max_stake: None, daily_loss: Some(eur(100)) }.into(),
        ..AccountState::new("p")
    }
}

fn after(state: &AccountState, command: &Command, at_ms: i64) -> AccountState {
    let decision = decide(state, command, at_ms).unwrap();
    assert!(!decision.is_rejection(), "{:?}", decision.outcome);
    decision.account
}

/// Bets at `bet_at_ms` and voids the bet at `at_ms`.
fn bet_and_void(state: &AccountState, stake: i64, payout: i64, bet_at_ms: i64, at_ms: i64) -> AccountState {
    let decision = decide(state, &bet(stake, payout), bet_at_ms).unwrap();
    let moved: Vec<Posting> = decision.postings.iter().cloned().collect();
    let void =
        WagerVoid { wager_id: wager_id(), reason: "a bug".into(), moved, decided_at_ms: Some(bet_at_ms) };
    after(&decision.account, &Command::VoidWager(void), at_ms)
}

#[test]
fn voided_win_does_not_offset_losses() {
    let state = bet_and_void(&player(1_000), 10, 1_000, MORNING_MS, MORNING_MS + 1);
    assert_eq!(state.balances[&Currency::Eur], 1_000);
    assert_eq!(state.lost_today(Currency::Eur, MORNING_MS), 0);
    assert!(decide(&state, &bet(101, 0), MORNING_MS + 2).unwrap().is_rejection());
    assert!(!decide(&state, &bet(100, 0), MORNING_MS + 2).unwrap().is_rejection());
}

#[test]
fn voided_loss_no_longer_counts() {
    let lost = after(&player(1_000), &bet(30, 0), MORNING_MS);
    let state = bet_and_void(&lost, 70, 0, MORNING_MS + 1, MORNING_MS + 2);
    assert_eq!(state.lost_today(Currency::Eur, MORNING_MS), 30, "the other bet still counts");
    assert!(!decide(&state, &bet(70, 0), MORNING_MS + 3).unwrap().is_rejection());
}

#[test]
fn amount_paid_by_suspense_is_no_loss() {
    let won = decide(&player(10), &bet(10, 500), MORNING_MS).unwrap();
    let moved: Vec<Posting> = won.postings.iter().cloned().collect();
    let spent = AccountState { balances: [(Currency::Eur, 90)].into(), ..won.account };
    let void =
        WagerVoid { wager_id: wager_id(), reason: "a bug".into(), moved, decided_at_ms: Some(MORNING_MS) };
    let decision = decide(&spent, &Command::VoidWager(void), MORNING_MS + 1).unwrap();
    assert!(decision.postings.iter().any(|leg| leg.account == Account::Suspense));
    assert_eq!(decision.account.lost_today(Currency::Eur, MORNING_MS), 0);
}

#[test]
fn void_of_yesterdays_wager_keeps_todays_loss() {
    let yesterday = decide(&player(1_000), &bet(50, 0), MORNING_MS - DAY_MS).unwrap();
    let moved: Vec<Posting> = yesterday.postings.iter().cloned().collect();
    let today = after(&yesterday.account, &bet(60, 0), MORNING_MS);
    let decided_at_ms = Some(MORNING_MS - DAY_MS);
    let void = WagerVoid { wager_id: wager_id(), reason: "a bug".into(), moved, decided_at_ms };
    let state = after(&today, &Command::VoidWager(void), MORNING_MS + 1);
    assert_eq!(state.lost_today(Currency::Eur, MORNING_MS), 60);
}

#[test]
fn clock_set_back_keeps_daily_loss() {
    let state = after(&player(1_000), &bet(60, 0), MORNING_MS);
    let before_midnight = MORNING_MS - 10;
    assert_eq!(state.lost_today(Currency::Eur, before_midnight), 60);
    assert!(decide(&state, &bet(41, 0), before_midnight).unwrap().is_rejection());
    let state = after(&state, &bet(40, 0), before_midnight);
    let all_of_today = LossDay { day: 20, net_minor: [(Currency::Eur, 100)].into() };
    assert_eq!(state.loss_day, all_of_today, "and what is lost meanwhile counts for the day that has begun");
    assert!(decide(&state, &bet(1, 0), MORNING_MS).unwrap().is_rejection());
    assert!(!decide(&state, &bet(100, 0), MORNING_MS + DAY_MS).unwrap().is_rejection(), "a new day");
}
