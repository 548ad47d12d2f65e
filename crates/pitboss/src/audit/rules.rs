//! Rules of the audit, as pure functions of the records that they compare.

use contracts::EventType;
use money::Account;

use super::documents::{Bet, Entry, Fact, HistoryEntry, Payment, PaymentKind};
use super::pay_table::PayTable;
use super::statement::{CAPTURED, Line};
pub use super::tally::Verdict;

/// Checks the postings of one decision of a player.
#[must_use]
pub fn postings(player_id: &str, entry: &Entry) -> Option<String> {
    let sums = entry.sums(|_| true);
    if let Some((currency, sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
        return Some(format!("the postings of seq {} sum to {sum} {currency}", entry.seq));
    }
    if entry.outcome == "rejected" && !entry.postings.is_empty() {
        return Some(format!("the rejection seq {} moves money", entry.seq));
    }
    let is_foreign = |account: &Account| matches!(account, Account::Player(id) if id != player_id);
    let foreign = entry.postings.iter().find(|leg| is_foreign(&leg.account))?;
    Some(format!("seq {} moves money of another account: {}", entry.seq, foreign.account))
}

/// Checks that a ledger row is a decision of its account, whose next decision is `next_seq`. `None`: there is no account.
#[must_use]
pub fn row_place(row_id: &str, player_id: &str, entry: &Entry, next_seq: Option<i64>) -> Option<String> {
    let seq = entry.seq;
    if row_id != format!("{player_id}/{seq}") {
        return Some(format!("the row of seq {seq} of player {player_id} has another id"));
    }
    match next_seq {
        None => Some("the row's account does not exist".to_owned()),
        Some(next_seq) if (1..next_seq).contains(&seq) => None,
        Some(next_seq) => {
            Some(format!("the row has seq {seq}, and the next seq of its account is {next_seq}"))
        }
    }
}

/// Checks that an applied wager has its bet, with the same amounts. A decided bet has not received the answer yet.
#[must_use]
pub fn wager(player_id: &str, entry: &Entry, bet: Option<&Bet>, is_young: bool) -> Verdict {
    let Some(moved) = entry.wagered(player_id) else {
        return Verdict::Differs(
            "the wager's postings are not one stake and one payout of the player".to_owned(),
        );
    };
    let applied = format!(
        "the wager was applied with stake {} and payout {} {}",
        moved.stake_minor, moved.payout_minor, moved.currency
    );
    let Some(bet) = bet else { return Verdict::Differs(format!("{applied}, and there is no such bet")) };
    if bet.player_id != player_id {
        return Verdict::Differs(format!("{applied}, and the bet is another player's"));
    }
    let amounts = (i128::from(bet.stake_minor), i128::from(bet.payout_minor));
    let agrees = (moved.stake_minor, moved.payout_minor) == amounts && moved.currency.code() == bet.currency;
    match bet.state.as_str() {
        "settled" | "voided" if agrees => Verdict::Agrees,
        "decided" if is_young => Verdict::InFlight,
        state => Verdict::Differs(format!("{applied}, and the bet is {state} with {}", bet.amounts())),
    }
}

/// Checks that a settled bet has its applied wager: `entry` is the decision under the wager's key.
#[must_use]
pub fn settled_bet(bet: &Bet, player_id_and_entry: Option<(&str, &Entry)>) -> Option<String> {
    let Some((player_id, entry)) = player_id_and_entry else {
        return Some(format!("the bet was settled with {}, and the ledger has no such wager", bet.amounts()));
    };
    let is_applied = entry.applied_wager() == Some(bet.id.as_str()) && player_id == bet.player_id;
    (!is_applied).then(|| {
        format!(
            "the bet was settled, and the ledger's decision on its wager is `{}` of {player_id}",
            entry.outcome
        )
    })
}

/// Checks that a settled bet pays what the published pay table owes for its reels.
#[must_use]
pub fn payout(bet: &Bet, tables: &[PayTable]) -> Option<String> {
    let published =
        tables.iter().find(|table| table.game == bet.game && table.version == bet.pay_table_version);
    let Some(table) = published else {
        return Some(format!(
            "its pay table {} of {} is not the published one, so nothing says what is owed",
            bet.pay_table_version, bet.game
        ));
    };
    let reels = bet.reels.join(" ");
    let Some(multiplier) = table.multiplier(&bet.reels) else {
        return Some(format!("its reels `{reels}` are no line of the pay table"));
    };
    let owed = i128::from(bet.stake_minor) * i128::from(multiplier);
    (owed != i128::from(bet.payout_minor)).then(|| {
        format!(
            "`{reels}` pays {multiplier} times the stake of {}: {owed} {} are owed, {} were paid",
            bet.stake_minor, bet.currency, bet.payout_minor
        )
    })
}

/// Checks that the provider captured a completed payment, with the same amount. `line` is the provider's answer to its key.
#[must_use]
pub fn payment(payment: &Payment, line: Option<&Line>) -> Option<String> {
    let completed =
        format!("the ledger completed {} {} of {}", payment.amount_minor, payment.currency, payment.id);
    let Some(line) = line else { return Some(format!("{completed}, and the provider does not know it")) };
    same_order(payment, line).err().map(|what| format!("{completed}, and {what}"))
}

/// Checks that a captured order is a completed payment of the ledger: `entry` is the decision that settled the payment.
#[must_use]
pub fn order(line: &Line, entry: Option<&Entry>, is_young: bool) -> Verdict {
    let captured =
        format!("the provider captured {} {} of {}", line.amount_minor, line.currency, line.payment_id);
    let Some(entry) = entry else {
        let nothing = format!("{captured}, and the ledger has not settled it");
        return if is_young { Verdict::InFlight } else { Verdict::Differs(nothing) };
    };
    let booked = match entry.completed() {
        Ok(Some(payment)) => same_order(&payment, line),
        Ok(None) => Err("the ledger settled it as failed".to_owned()),
        Err(what) => Err(what),
    };
    booked.map_or_else(|what| Verdict::Differs(format!("{captured}, and {what}")), |()| Verdict::Agrees)
}

fn same_order(payment: &Payment, line: &Line) -> Result<(), String> {
    if line.status != CAPTURED {
        return Err(format!("the provider's statement says `{}`", line.status));
    }
    let kind = |kind: PaymentKind| if kind == PaymentKind::Charge { "charge" } else { "payout" };
    let same = payment.kind == line.kind
        && payment.amount_minor == i128::from(line.amount_minor)
        && payment.currency.code() == line.currency;
    if same {
        return Ok(());
    }
    Err(format!(
        "the statement has a {} of {} {} where the ledger has a {} of {} {}",
        kind(line.kind),
        line.amount_minor,
        line.currency,
        kind(payment.kind),
        payment.amount_minor,
        payment.currency
    ))
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
        None => {
            Verdict::Differs(format!("the bet is {}, and the player's history does not have it", bet.state))
        }
        Some(entry) => Verdict::Differs(format!(
            "the bet is {} with {}; the history says {} with stake {} and payout {} {}",
            bet.state,
            bet.amounts(),
            entry.outcome,
            entry.amount_minor,
            entry.payout_minor.unwrap_or(0),
            entry.currency
        )),
    })
}

/// Returns the id of a settled bet's fact, which is the id of its `BetSettled`. `None` if the bet's id is invalid.
#[must_use]
pub fn fact_id(bet: &Bet) -> Option<String> {
    let cause = bet.id.parse().ok()?;
    Some(contracts::ids::follower_id(&cause, EventType::BetSettled).to_string())
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
        None => Verdict::Differs(format!(
            "the bet was settled with {}, and analytics has no fact of it",
            bet.amounts()
        )),
        Some(fact) => Verdict::Differs(format!(
            "the bet was settled with {}; its fact says stake {} and payout {} {}",
            bet.amounts(),
            fact.in_minor,
            fact.out_minor,
            fact.currency
        )),
    }
}
