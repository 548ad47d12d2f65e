//! Rules about events, as pure functions of an event and of the records that it is compared with.

use contracts::proto::common::v1::Money;
use contracts::{Event, EventId, EventType, Message, Topic, ids};

use super::documents::{Bet, Entry, Fact, Row};
use super::rules::{Standing, unless_waiting};
use super::tally::Verdict;
use super::violation::{Amount, Violation};

/// Returns the type of the event that an ended bet has published last. `None` for a bet that has not ended.
#[must_use]
pub fn event_of_bet(bet: &Bet) -> Option<EventType> {
    match bet.state.as_str() {
        "settled" => Some(EventType::BetSettled),
        "rejected" => Some(EventType::BetRejected),
        "voided" => Some(EventType::BetVoided),
        _ => None,
    }
}

/// Returns the bet that an event of game is about.
#[must_use]
pub fn bet_of_event(message: &Message) -> Option<&str> {
    match message {
        Message::BetSettled(bet) => Some(&bet.bet_id),
        Message::BetRejected(bet) => Some(&bet.bet_id),
        Message::BetVoided(bet) => Some(&bet.bet_id),
        _ => None,
    }
}

/// Checks that an event of game is the one of its bet, with the same amounts. `None` also for other events.
#[must_use]
pub fn settlement_event(event: &Event, bet: Option<&Bet>) -> Option<Violation> {
    let bet_id = bet_of_event(&event.message)?;
    let (stake, payout, states) = match &event.message {
        Message::BetSettled(bet) => (bet.stake.as_ref(), bet.payout.as_ref(), ["settled", "voided"]),
        Message::BetRejected(bet) => (bet.stake.as_ref(), None, ["rejected", "voided"]),
        Message::BetVoided(bet) => (bet.stake.as_ref(), None, ["voided", "voided"]),
        _ => return None,
    };
    let stated: Vec<Amount> = stake
        .map(|m| amount("stated stake", m))
        .into_iter()
        .chain(payout.map(|m| amount("stated payout", m)))
        .collect();
    let texts: Vec<String> = stated.iter().map(|amount| format!("{} {amount}", amount.name)).collect();
    let head = format!("{} of bet {bet_id} has {}", named(event), texts.join(" and "));
    let Some(bet) = bet else {
        return Some(Violation::of(format!("{head}, and game does not know the bet"), stated));
    };
    let expected = bet_id.parse::<EventId>().map(|cause| ids::follower_id(&cause, event.event_type()));
    let is_of_bet = |money: Option<&Money>, minor: i64| {
        money.is_none_or(|money| money.minor == minor && money.currency == bet.currency)
    };
    if bet.player_id != event.player_id() {
        Some(Violation::of(format!("{head}, and the bet is another player's"), stated))
    } else if !is_of_bet(stake, bet.stake_minor) || !is_of_bet(payout, bet.payout_minor) {
        let [own_stake, own_payout] = bet.amounts();
        let what = format!("{head}. The bet is {} with stake {own_stake} and payout {own_payout}", bet.state);
        Some(Violation::of(what, stated.into_iter().chain([own_stake, own_payout])))
    } else if !states.contains(&bet.state.as_str()) {
        Some(Violation::of(format!("{head}, and the bet is {}", bet.state), stated))
    } else {
        let expected = expected.ok().filter(|expected| *expected != event.id)?;
        let what = format!("{head}: it is a second one, because the bet's own event has the id {expected}");
        Some(Violation::of(what, stated))
    }
}

/// Checks that an event of the ledger is that of the decision that caused it. A report about a conflict is no decision.
#[must_use]
pub fn decision_event(event: &Event, value: &[u8], row: Option<&Row>) -> Option<Violation> {
    if event.event_type() == EventType::CommandConflict {
        return None;
    }
    let name = named(event);
    let Some(row) = row else {
        return Some(format!("{name} is on the topic, and the ledger has no decision that caused it").into());
    };
    let is_own = row.entry.event.as_ref().is_some_and(|stored| {
        stored.id == event.id.as_str()
            && stored.event_type == event.event_type().as_str()
            && stored.value().is_none_or(|stored| stored == value)
    });
    (!is_own).then(|| format!("{name} is not the event of the decision {} that it names", row.id).into())
}

/// Returns the wager that a void reverses.
#[must_use]
pub fn wager_of_void(message: &Message) -> Option<&str> {
    match message {
        Message::WagerVoided(void) => Some(&void.wager_id),
        Message::BetVoided(void) => Some(&void.bet_id),
        _ => None,
    }
}

/// Checks that a void carries the amounts that its wager had applied. `wager` is the ledger's decision under the wager's key.
///
/// A bet that was never published as settled is voided without amounts, so only those of payment must be there. Older builds of
/// payment left them out and stated a balance.
#[must_use]
pub fn void_event(event: &Event, wager: Option<&Row>) -> Option<Violation> {
    let wager_id = wager_of_void(&event.message)?;
    let (stake, payout, may_be_silent) = match &event.message {
        Message::WagerVoided(void) => {
            (void.reversed_stake.as_ref(), void.reversed_payout.as_ref(), void.balance_after.is_some())
        }
        Message::BetVoided(void) => (void.reversed_stake.as_ref(), void.reversed_payout.as_ref(), true),
        _ => return None,
    };
    let is_applied = |entry: &Entry| entry.applied_wager() == Some(wager_id);
    let applied = wager.filter(|row| row.player_id == event.player_id() && is_applied(&row.entry));
    let moved = applied.and_then(|row| row.entry.wagered(&row.player_id));
    let moved_amounts = moved.map(|moved| {
        let code = moved.currency.code();
        [Amount::new("stake", moved.stake_minor, code), Amount::new("payout", moved.payout_minor, code)]
    });
    let Some((stake, payout)) = stake.zip(payout) else {
        let [own_stake, own_payout] = moved_amounts.filter(|_| !may_be_silent)?;
        let what = format!(
            "{} of {wager_id} carries no amounts. Its wager applied stake {own_stake} and payout {own_payout}",
            named(event)
        );
        return Some(Violation::of(what, [own_stake, own_payout]));
    };
    let stated = [amount("reversed stake", stake), amount("reversed payout", payout)];
    let [reversed_stake, reversed_payout] = &stated;
    let head = format!(
        "{} of {wager_id} reverses stake {reversed_stake} and payout {reversed_payout}",
        named(event)
    );
    match moved_amounts {
        None => Some(Violation::of(format!("{head}, and no such wager was applied"), stated)),
        Some(own) if is_same(&stated, &own) => None,
        Some(own) => {
            let [own_stake, own_payout] = &own;
            let what = format!("{head}. Its wager applied stake {own_stake} and payout {own_payout}");
            Some(Violation::of(what, stated.into_iter().chain(own)))
        }
    }
}

fn is_same(stated: &[Amount; 2], own: &[Amount; 2]) -> bool {
    stated.iter().zip(own).all(|(stated, own)| (stated.minor, &stated.currency) == (own.minor, &own.currency))
}

/// Checks that an event that analytics counts has its fact, with the same amounts. `None` for events that it does not count.
#[must_use]
pub fn event_fact(event: &Event, fact: Option<&Fact>, is_young: bool) -> Option<Verdict> {
    let (in_minor, out_minor, currency) = counted(&event.message)?;
    let stated = [Amount::new("in", in_minor, currency), Amount::new("out", out_minor, currency)];
    let [stated_in, stated_out] = &stated;
    let head = format!("{} counts {stated_in} in and {stated_out} out", named(event));
    Some(match fact {
        Some(fact)
            if (fact.in_minor, fact.out_minor, fact.currency.as_str()) == (in_minor, out_minor, currency) =>
        {
            Verdict::Agrees
        }
        None if is_young => Verdict::InFlight,
        None => Verdict::Differs(Violation::of(format!("{head}, and analytics has no fact of it"), stated)),
        Some(fact) => {
            let fact_in = Amount::new("counted in", fact.in_minor, &fact.currency);
            let fact_out = Amount::new("counted out", fact.out_minor, &fact.currency);
            let what = format!("{head}. Its fact says {fact_in} in and {fact_out} out");
            Verdict::Differs(Violation::of(what, stated.into_iter().chain([fact_in, fact_out])))
        }
    })
}

/// Returns the minor units that went in and out, with their currency, of an event that analytics counts.
#[must_use]
pub fn counted(message: &Message) -> Option<(i64, i64, &str)> {
    let of = |money: &Option<Money>| money.as_ref().map_or(0, |money| money.minor);
    let (in_minor, out_minor, money) = match message {
        Message::BetSettled(bet) => (of(&bet.stake), of(&bet.payout), &bet.stake),
        Message::BetRejected(bet) => (0, 0, &bet.stake),
        Message::BetVoided(bet) => {
            (of(&bet.reversed_stake).saturating_neg(), of(&bet.reversed_payout).saturating_neg(), &bet.stake)
        }
        Message::DepositCompleted(deposit) => (of(&deposit.amount), 0, &deposit.amount),
        Message::DepositFailed(deposit) => (0, 0, &deposit.amount),
        Message::WithdrawalCompleted(withdrawal) => (0, of(&withdrawal.amount), &withdrawal.amount),
        Message::WithdrawalFailed(withdrawal) => (0, 0, &withdrawal.amount),
        _ => return None,
    };
    Some((in_minor, out_minor, money.as_ref()?.currency.as_str()))
}

/// Returns the keys of the ledger rows of which any one ends a command to payment.
#[must_use]
pub fn keys_of_ends(event: &Event) -> Vec<String> {
    let mut keys = vec![format!("c:{}", event.id)];
    match &event.message {
        // A wager that was voided before has the void as its outcome.
        Message::ApplyWager(wager) => {
            keys.extend([format!("w:{}", wager.wager_id), format!("v:{}", wager.wager_id)]);
        }
        Message::VoidWager(void) => keys.push(format!("v:{}", void.wager_id)),
        // A payment is settled once, also if several sources report it.
        Message::ProviderReported(report) => {
            keys.push(format!("r:{}", report.payment_id));
            let usual = report.payment_id.parse::<EventId>().map(|id| ids::provider_reported_id(&id));
            keys.extend(usual.map(|id| format!("c:{id}")));
        }
        _ => {}
    }
    keys
}

/// Returns true for a record that the group of a topic of commands must handle.
///
/// It passes types of other topics, which the console may write there. `None` is a record that cannot be read, which it must park.
#[must_use]
pub fn is_handled(topic: Topic, event: Option<&Event>) -> bool {
    event.is_none_or(|event| event.event_type().topic() == topic)
}

/// Checks that a command that its group completed has an end: a decision, or a dead letter with its id that an operator has not
/// replayed.
#[must_use]
pub fn command_end(name: &str, is_decided: bool, letter: Option<Standing>, now_ms: i64) -> Verdict {
    if is_decided {
        return Verdict::Agrees;
    }
    let what = format!("{name} was completed, and there is neither a decision nor an open dead letter of it");
    unless_waiting(Verdict::Differs(what.into()), letter, now_ms)
}

/// Returns type and id.
#[must_use]
pub fn named(event: &Event) -> String {
    format!("{} {}", event.event_type().short_name(), event.id)
}

fn amount(name: &'static str, money: &Money) -> Amount {
    Amount::new(name, money.minor, &money.currency)
}
