//! Rules of the audit, as pure functions of the records that they compare.

use std::collections::BTreeMap;

use contracts::payments::OPEN_MS_MAX;
use contracts::{EventId, EventType, Group};
use money::{Account, Currency};

use super::documents::{Bet, Entry, Fact, HistoryEntry, Intent, Notification, Payment, PaymentKind};
use super::mails::Mail;
use super::pay_table::PayTable;
use super::statement::{CAPTURED, Line};
pub use super::tally::Verdict;
use super::violation::{Amount, Violation};

/// Age from which a bet without an end is no longer in flight, although game still tries to end it.
const UNENDED_MS_MAX: i64 = 1_800_000;

/// What has become of the dead letters of a record. Of several records, the greatest standing counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// An operator published the record again.
    Replayed {
        /// When.
        at_ms: i64,
    },
    /// An operator gave the record up, so what waits for it does not end.
    Discarded,
    /// The record waits for an operator.
    Open,
}

/// Says what the dead letter of a record excuses that something waits for. After a replay it has to end in the usual time.
#[must_use]
pub fn unless_waiting(unended: Verdict, letter: Option<Standing>, now_ms: i64) -> Verdict {
    if !matches!(unended, Verdict::Differs(_)) {
        return unended;
    }
    match letter {
        Some(Standing::Open) => Verdict::Parked,
        Some(Standing::Discarded) => Verdict::Agrees,
        Some(Standing::Replayed { at_ms }) if now_ms.saturating_sub(at_ms) < UNENDED_MS_MAX => {
            Verdict::InFlight
        }
        Some(Standing::Replayed { .. }) | None => unended,
    }
}

fn differs(what: impl Into<String>, amounts: impl IntoIterator<Item = Amount>) -> Verdict {
    Verdict::Differs(Violation::of(what, amounts))
}

/// Checks the postings of one decision of a player.
#[must_use]
pub fn postings(player_id: &str, entry: &Entry) -> Option<Violation> {
    let sums = entry.sums(|_| true);
    if let Some((currency, sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
        let sum = Amount::new("sum", *sum, currency.code());
        return Some(Violation::of(format!("the postings of seq {} sum to {sum}", entry.seq), [sum]));
    }
    if entry.outcome == "rejected" && !entry.postings.is_empty() {
        return Some(format!("the rejection seq {} moves money", entry.seq).into());
    }
    let is_foreign = |account: &Account| matches!(account, Account::Player(id) if id != player_id);
    let foreign = entry.postings.iter().find(|leg| is_foreign(&leg.account))?;
    Some(format!("seq {} moves money of another account: {}", entry.seq, foreign.account).into())
}

/// Checks that a ledger row is a decision of its account, whose next decision is `next_seq`. `None`: there is no account.
#[must_use]
pub fn row_place(row_id: &str, player_id: &str, entry: &Entry, next_seq: Option<i64>) -> Option<Violation> {
    let seq = entry.seq;
    if row_id != format!("{player_id}/{seq}") {
        return Some(format!("the row of seq {seq} of player {player_id} has another id").into());
    }
    match next_seq {
        None => Some("the row's account does not exist".into()),
        Some(next_seq) if (1..next_seq).contains(&seq) => None,
        Some(next_seq) => {
            Some(format!("the row has seq {seq}, and the next seq of its account is {next_seq}").into())
        }
    }
}

/// Checks that an applied wager has its bet, with the same amounts. A decided bet has not received the answer yet.
#[must_use]
pub fn wager(player_id: &str, entry: &Entry, bet: Option<&Bet>, is_young: bool) -> Verdict {
    let Some(moved) = entry.wagered(player_id) else {
        return differs("the wager's postings are not one stake and one payout of the player", []);
    };
    let stake = Amount::new("applied stake", moved.stake_minor, moved.currency.code());
    let payout = Amount::new("applied payout", moved.payout_minor, moved.currency.code());
    let applied = format!("the wager was applied with stake {stake} and payout {payout}");
    let Some(bet) = bet else {
        return differs(format!("{applied}, and there is no such bet"), [stake, payout]);
    };
    if bet.player_id != player_id {
        return differs(format!("{applied}, and the bet is another player's"), [stake, payout]);
    }
    let amounts = (i128::from(bet.stake_minor), i128::from(bet.payout_minor));
    let agrees = (moved.stake_minor, moved.payout_minor) == amounts && moved.currency.code() == bet.currency;
    match bet.state.as_str() {
        "settled" | "voided" if agrees => Verdict::Agrees,
        "decided" if is_young => Verdict::InFlight,
        state => {
            let [own_stake, own_payout] = bet.amounts();
            let what =
                format!("{applied}, and the bet is {state} with stake {own_stake} and payout {own_payout}");
            differs(what, [stake, payout, own_stake, own_payout])
        }
    }
}

/// Checks that a settled bet has its applied wager: `entry` is the decision under the wager's key.
#[must_use]
pub fn settled_bet(bet: &Bet, player_id_and_entry: Option<(&str, &Entry)>) -> Option<Violation> {
    let Some((player_id, entry)) = player_id_and_entry else {
        let [stake, payout] = bet.amounts();
        let what = format!(
            "the bet was settled with stake {stake} and payout {payout}, and the ledger has no such wager"
        );
        return Some(Violation::of(what, [stake, payout]));
    };
    let is_applied = entry.applied_wager() == Some(bet.id.as_str()) && player_id == bet.player_id;
    (!is_applied).then(|| {
        let outcome = &entry.outcome;
        format!("the bet was settled, and the ledger's decision on its wager is `{outcome}` of {player_id}")
            .into()
    })
}

/// Checks that a settled bet pays what the published pay table owes for its reels.
#[must_use]
pub fn payout(bet: &Bet, tables: &[PayTable]) -> Option<Violation> {
    let published =
        tables.iter().find(|table| table.game == bet.game && table.version == bet.pay_table_version);
    let Some(table) = published else {
        let what = format!(
            "its pay table {} of {} is not the published one, so nothing says what is owed",
            bet.pay_table_version, bet.game
        );
        return Some(what.into());
    };
    let reels = bet.reels.join(" ");
    let Some(multiplier) = table.multiplier(&bet.reels) else {
        return Some(format!("its reels `{reels}` are no line of the pay table").into());
    };
    let owed_minor = i128::from(bet.stake_minor) * i128::from(multiplier);
    (owed_minor != i128::from(bet.payout_minor)).then(|| {
        let owed = Amount::new("owed", owed_minor, &bet.currency);
        let [stake, paid] = bet.amounts();
        let what = format!(
            "`{reels}` pays {multiplier} times the stake of {stake}: {owed} is owed, {paid} was paid"
        );
        Violation::of(what, [stake, owed, Amount { name: "paid", ..paid }])
    })
}

/// Returns the ids of the records that a decided bet waits for, each with the group that has to handle it: its command to payment,
/// and each answer to it.
#[must_use]
pub fn awaited_ids(bet: &Bet) -> Vec<(Group, String)> {
    let Ok(bet_id) = bet.id.parse::<EventId>() else { return Vec::new() };
    let command = contracts::ids::follower_id(&bet_id, EventType::ApplyWager);
    let answers = [EventType::WagerApplied, EventType::WagerRejected, EventType::CommandConflict]
        .map(|answer| (Group::Game, contracts::ids::follower_id(&command, answer).to_string()));
    std::iter::once((Group::Payment, command.to_string())).chain(answers).collect()
}

/// Returns true if only a dead letter can explain that this bet has not ended.
#[must_use]
pub fn is_overdue(bet: &Bet, now_ms: i64) -> bool {
    let age_ms = now_ms.saturating_sub(bet.decided_at.timestamp_millis());
    bet.state == "decided" && (bet.unanswered_at.is_some() || age_ms >= UNENDED_MS_MAX)
}

/// Checks that a bet has ended. One that has not is in flight until it is overdue, and then needs the dead letter of a record that
/// it waits for.
#[must_use]
pub fn ended(bet: &Bet, now_ms: i64, letter: Option<Standing>) -> Verdict {
    if bet.state != "decided" {
        return Verdict::Agrees;
    }
    if !is_overdue(bet, now_ms) {
        return Verdict::InFlight;
    }
    let stake = Amount::new("stake", bet.stake_minor, &bet.currency);
    let what = format!(
        "the bet with stake {stake} has no answer of payment, and no record that it waits for is an open dead letter"
    );
    unless_waiting(differs(what, [stake]), letter, now_ms)
}

/// Checks that a deposit or withdrawal has ended, or that payment has parked and reported it. Payment does one of both within a
/// time that the contract bounds.
#[must_use]
pub fn payment_ended(intent: &Intent, now_ms: i64) -> Verdict {
    let Intent { id, kind, state, .. } = intent;
    if matches!(state.as_str(), "settled" | "parked") {
        return Verdict::Agrees;
    }
    let age_ms = now_ms.saturating_sub(intent.created_at.timestamp_millis());
    if age_ms < OPEN_MS_MAX {
        return Verdict::InFlight;
    }
    let amount = Amount::new("amount", intent.amount_minor, &intent.currency);
    let what = format!("the {kind} {id} of {amount} is still {state} after {} minutes", age_ms / 60_000);
    differs(what, [amount])
}

/// Checks that an e-mail is about a notification, that it has the Message-ID of the `earlier` ones about it, and that there are no
/// more of them than attempts that can have delivered one.
#[must_use]
pub fn mail(mail: &Mail, earlier: &[&Mail], notification: Option<&Notification>) -> Verdict {
    let named = |message_id: Option<&str>| message_id.unwrap_or("none").to_owned();
    let message_id = named(mail.message_id.as_deref());
    let Some(notification) = notification else {
        return differs(format!("the e-mail has Message-ID {message_id}, which no notification has"), []);
    };
    let id = &notification.id;
    if let Some(other) = earlier.iter().find(|other| other.message_id != mail.message_id) {
        let other = named(other.message_id.as_deref());
        let what =
            format!("the e-mail about {id} has Message-ID {message_id}, and an earlier one about it {other}");
        return differs(what, []);
    }
    let arrived = i64::try_from(earlier.len()).unwrap_or(i64::MAX).saturating_add(1);
    let possible = notification.deliveries_max();
    if arrived <= possible {
        return Verdict::Agrees;
    }
    let what = format!(
        "the e-mail about {id} arrived {arrived} times, and at most {possible} of its attempts can have delivered it"
    );
    differs(what, [])
}

/// Checks that an applied void reverses what its wager moved, and that its bet is voided. What the player had already spent
/// comes from `suspense`. A void that came before its wager moves nothing.
#[must_use]
pub fn void(
    player_id: &str,
    entry: &Entry,
    wager: Option<&Entry>,
    bet: Option<&Bet>,
    is_young: bool,
) -> Verdict {
    let mut left: BTreeMap<(&Account, Currency), i128> = BTreeMap::new();
    for leg in entry.postings.iter().chain(wager.into_iter().flat_map(|wager| &wager.postings)) {
        *left.entry((&leg.account, leg.currency)).or_insert(0) += i128::from(leg.amount_minor);
    }
    left.retain(|_, minor| *minor != 0);
    let is_lent = |((account, _), minor): (&(&Account, Currency), &i128)| match account {
        Account::Player(id) => id == player_id && *minor > 0,
        Account::Suspense => *minor < 0,
        Account::House(_) | Account::Provider(_) => false,
    };
    if !left.iter().all(is_lent) {
        let amounts = left.iter().map(|((_, currency), minor)| Amount::new("left", *minor, currency.code()));
        return differs(format!("the void seq {} does not reverse what its wager moved", entry.seq), amounts);
    }
    match bet.map(|bet| bet.state.as_str()) {
        None | Some("voided" | "rejected") => Verdict::Agrees,
        Some(_) if is_young => Verdict::InFlight,
        Some(state) => differs(format!("the wager was voided, and its bet is {state}"), []),
    }
}

/// Checks that the provider captured a completed payment, with the same amount. `line` is the provider's answer to its key.
#[must_use]
pub fn payment(payment: &Payment, line: Option<&Line>) -> Option<Violation> {
    let amount = completed_amount(payment);
    let completed = format!("the ledger completed {amount} of {}", payment.id);
    let Some(line) = line else {
        return Some(Violation::of(format!("{completed}, and the provider does not know it"), [amount]));
    };
    let Violation { what, amounts } = same_order(payment, line).err()?;
    Some(Violation::of(format!("{completed}, and {what}"), amounts))
}

/// Checks that a captured order is a completed payment of the ledger: `entry` is the decision that settled the payment.
#[must_use]
pub fn order(line: &Line, entry: Option<&Entry>, is_young: bool) -> Verdict {
    let amount = captured_amount(line);
    let captured = format!("the provider captured {amount} of {}", line.payment_id);
    let Some(entry) = entry else {
        let nothing = format!("{captured}, and the ledger has not settled it");
        return if is_young { Verdict::InFlight } else { differs(nothing, [amount]) };
    };
    let booked = match entry.completed() {
        Ok(Some(payment)) => same_order(&payment, line),
        Ok(None) => Err(Violation::of("the ledger settled it as failed", [amount])),
        Err(violation) => Err(violation),
    };
    booked.map_or_else(
        |Violation { what, amounts }| differs(format!("{captured}, and {what}"), amounts),
        |()| Verdict::Agrees,
    )
}

fn completed_amount(payment: &Payment) -> Amount {
    Amount::new("completed", payment.amount_minor, payment.currency.code())
}

fn captured_amount(line: &Line) -> Amount {
    Amount::new("captured", line.amount_minor, &line.currency)
}

fn same_order(payment: &Payment, line: &Line) -> Result<(), Violation> {
    let (completed, captured) = (completed_amount(payment), captured_amount(line));
    if line.status != CAPTURED {
        let what = format!("the provider's statement says `{}`", line.status);
        return Err(Violation::of(what, [completed, captured]));
    }
    let kind = |kind: PaymentKind| if kind == PaymentKind::Charge { "charge" } else { "payout" };
    let same = payment.kind == line.kind
        && payment.amount_minor == i128::from(line.amount_minor)
        && payment.currency.code() == line.currency;
    if same {
        return Ok(());
    }
    let (stated, booked) = (kind(line.kind), kind(payment.kind));
    let what =
        format!("the statement has a {stated} of {captured} where the ledger has a {booked} of {completed}");
    Err(Violation::of(what, [completed, captured]))
}

/// Checks that a completed payment is in its player's history, with its amount.
#[must_use]
pub fn history_payment(
    player_id: &str,
    payment: &Payment,
    entry: Option<&HistoryEntry>,
    is_young: bool,
) -> Verdict {
    let kind = match payment.kind {
        PaymentKind::Charge => "deposit",
        PaymentKind::Payout => "withdrawal",
    };
    let amount = completed_amount(payment);
    let completed = format!("the {kind} of {amount} was completed");
    match entry {
        Some(entry)
            if entry.player_id == player_id
                && (entry.kind.as_str(), entry.outcome.as_str()) == (kind, "completed")
                && i128::from(entry.amount_minor) == payment.amount_minor
                && entry.currency == payment.currency.code() =>
        {
            Verdict::Agrees
        }
        _ if is_young => Verdict::InFlight,
        None => differs(format!("{completed}, and the player's history does not have it"), [amount]),
        Some(entry) => {
            let shown = Amount::new("shown", entry.amount_minor, &entry.currency);
            let what = format!("{completed}. The history has a {} {} of {shown}", entry.outcome, entry.kind);
            differs(what, [amount, shown])
        }
    }
}

/// Checks that a completed payment has its fact, with its amount.
#[must_use]
pub fn payment_fact(payment: &Payment, fact: Option<&Fact>, is_young: bool) -> Verdict {
    let amount = completed_amount(payment);
    let Some(fact) = fact else {
        let nothing =
            format!("the ledger completed {amount} of {}, and analytics has no fact of it", payment.id);
        return if is_young { Verdict::InFlight } else { differs(nothing, [amount]) };
    };
    let (counted, other) = match payment.kind {
        PaymentKind::Charge => (fact.in_minor, fact.out_minor),
        PaymentKind::Payout => (fact.out_minor, fact.in_minor),
    };
    if (i128::from(counted), other, fact.currency.as_str())
        == (payment.amount_minor, 0, payment.currency.code())
    {
        return Verdict::Agrees;
    }
    let counted = Amount::new("counted", counted, &fact.currency);
    let what = format!("the ledger completed {amount} of {}. Its fact says {counted}", payment.id);
    differs(what, [amount, counted])
}

/// Checks that an ended bet is in its player's history, with its outcome. `None` for a bet that has not ended.
#[must_use]
pub fn history(bet: &Bet, entry: Option<&HistoryEntry>, is_young: bool) -> Option<Verdict> {
    if !matches!(bet.state.as_str(), "settled" | "rejected" | "voided") {
        return None;
    }
    let agrees = entry.is_some_and(|entry| {
        let is_paid = entry.payout_minor.map_or(bet.state != "settled", |payout| payout == bet.payout_minor);
        entry.player_id == bet.player_id
            && entry.outcome == bet.state
            && (entry.amount_minor, entry.currency.as_str()) == (bet.stake_minor, bet.currency.as_str())
            && is_paid
    });
    Some(match entry {
        _ if agrees => Verdict::Agrees,
        _ if is_young => Verdict::InFlight,
        None => differs(
            format!("the bet is {}, and the player's history does not have it", bet.state),
            bet.amounts(),
        ),
        Some(entry) => {
            let [stake, payout] = bet.amounts();
            let shown_stake = Amount::new("shown stake", entry.amount_minor, &entry.currency);
            let shown_payout = Amount::new("shown payout", entry.payout_minor.unwrap_or(0), &entry.currency);
            let what = format!(
                "the bet is {} with stake {stake} and payout {payout}. The history says {} with stake {shown_stake} and payout {shown_payout}",
                bet.state, entry.outcome
            );
            differs(what, [stake, payout, shown_stake, shown_payout])
        }
    })
}

/// Returns the id of a settled bet's fact, which is the id of its `BetSettled`. `None` if the bet's id is invalid.
#[must_use]
pub fn fact_id(bet: &Bet) -> Option<String> {
    let cause = bet.id.parse().ok()?;
    Some(contracts::ids::follower_id(&cause, EventType::BetSettled).to_string())
}

/// Excuses a fact that is missing because its event waits as a dead letter of analytics, or may be one that cannot be read yet.
#[must_use]
pub fn unless_parked(missing: Verdict, is_open: bool, may_be_held: bool) -> Verdict {
    match missing {
        Verdict::Differs(_) if is_open => Verdict::Parked,
        Verdict::Differs(_) if may_be_held => Verdict::InFlight,
        verdict => verdict,
    }
}

/// Checks that a settled bet has its fact, with the same amounts.
#[must_use]
pub fn fact(bet: &Bet, fact: Option<&Fact>, is_young: bool) -> Verdict {
    match fact {
        Some(fact)
            if (fact.in_minor, fact.out_minor, &fact.currency)
                == (bet.stake_minor, bet.payout_minor, &bet.currency) =>
        {
            Verdict::Agrees
        }
        None if is_young => Verdict::InFlight,
        None => {
            let [stake, payout] = bet.amounts();
            let what = format!(
                "the bet was settled with stake {stake} and payout {payout}, and analytics has no fact of it"
            );
            differs(what, [stake, payout])
        }
        Some(fact) => {
            let [stake, payout] = bet.amounts();
            let counted_stake = Amount::new("counted stake", fact.in_minor, &fact.currency);
            let counted_payout = Amount::new("counted payout", fact.out_minor, &fact.currency);
            let what = format!(
                "the bet was settled with stake {stake} and payout {payout}. Its fact says stake {counted_stake} and payout {counted_payout}"
            );
            differs(what, [stake, payout, counted_stake, counted_payout])
        }
    }
}
