//! Rules of the audit over sample documents: each rule accepts what the services write, and finds each way to break it.

use contracts::Group;
use pitboss::audit::CheckId;
use pitboss::audit::documents::{AccountDoc, Bet, Entry, Fact, HistoryEntry, Intent, PaymentKind};
use pitboss::audit::pay_table::PayTable;
use pitboss::audit::rules::{self, Standing, Verdict};
use pitboss::audit::statement::Line;
use pitboss::audit::walk::{Problem, Walk};
use serde_json::json;
use store::bson::{DateTime, Document, deserialize_from_document, doc};

const AT_MS: i64 = 1_793_534_400_000;

fn leg(account: &str, amount_minor: i64) -> Document {
    doc! { "account": account, "currency": "EUR", "amount_minor": amount_minor }
}

/// A decision as payment stores it.
fn stored(
    seq: i64,
    keys: &[&str],
    command: &str,
    event: &str,
    legs: Vec<Document>,
    balance: i64,
) -> Document {
    doc! {
        "seq": seq, "command_id": format!("command-{seq}"), "keys": keys.to_vec(), "request_hash": "00",
        "type": format!("casino.payments.v1.{command}"), "outcome": "applied", "postings": legs,
        "balance_after_minor": balance, "trace": { "traceparent": "00" },
        "event": { "id": "e", "type": format!("casino.payments.v1.{event}"), "bytes": "" },
        "at": DateTime::from_millis(AT_MS + seq),
    }
}

fn deposit(seq: i64) -> Document {
    let legs = vec![leg("provider:card", -1_000), leg("player:ada", 1_000)];
    stored(seq, &["c:x", "r:pay-1"], "ProviderReported", "DepositCompleted", legs, 1_000)
}

fn wager(seq: i64) -> Document {
    let legs = vec![
        leg("player:ada", -100),
        leg("house:slots", 100),
        leg("house:slots", -500),
        leg("player:ada", 500),
    ];
    stored(seq, &["c:bet-1", "w:bet-1"], "ApplyWager", "WagerApplied", legs, 1_400)
}

fn entry(document: Document) -> Entry {
    deserialize_from_document(document).expect("a document of this form")
}

fn account(next_seq: i64, balance: i64, tail: Vec<Document>) -> AccountDoc {
    let account = doc! {
        "_id": "ada", "version": 7_i64, "next_seq": next_seq, "balances": { "EUR": balance, "SEK": 0_i64 },
        "limits": {}, "tail": tail,
    };
    deserialize_from_document(account).expect("a document of this form")
}

/// Walks through all decisions. Returns the number of those that were undone, and the problem.
fn walk(account: &AccountDoc, rows: &[Entry], since_ms: Option<i64>) -> (u64, Option<Problem>) {
    let (mut walk, mut taken_back) = (Walk::new(account), 0);
    while !walk.is_done() {
        let id = walk.next_row();
        let row = rows.iter().find(|row| format!("ada/{}", row.seq) == id);
        match walk.take_back(row, since_ms) {
            Ok(true) => taken_back += 1,
            Ok(false) => {}
            Err(problem) => return (taken_back, Some(problem)),
        }
    }
    (taken_back, walk.remainder())
}

fn problem_of(account: &AccountDoc, rows: &[Entry]) -> CheckId {
    walk(account, rows, None).1.expect("a problem").0
}

#[test]
fn walk_accepts_decisions_in_tail_and_ledger() {
    let rows = [entry(deposit(1)), entry(wager(2))];
    assert_eq!(walk(&account(3, 1_400, vec![]), &rows, None), (2, None));
    assert_eq!(walk(&account(3, 1_400, vec![wager(2)]), &rows, None), (2, None), "in both");
    assert_eq!(walk(&account(3, 1_400, vec![wager(2)]), &rows[..1], None), (2, None), "only in the tail");
    assert_eq!(walk(&account(1, 0, vec![]), &[], None), (0, None), "a new account");
}

#[test]
fn walk_ends_at_the_mark() {
    let rows = [entry(deposit(1)), entry(wager(2))];
    assert_eq!(walk(&account(3, 1_400, vec![]), &rows, Some(AT_MS + 2)), (1, None));
    assert_eq!(walk(&account(3, 1_400, vec![]), &rows, Some(AT_MS + 3)), (0, None));
}

#[test]
fn balance_is_compared_at_the_mark_too() {
    let rows = [entry(deposit(1)), entry(wager(2))];
    let changed = walk(&account(3, 1_401, vec![]), &rows, Some(AT_MS + 3)).1.expect("a problem");
    assert_eq!(changed.0, CheckId::Balances, "the newest decision before the mark states another balance");
    assert!(changed.1.what.contains("14.00 EUR") && changed.1.what.contains("14.01 EUR"), "{changed:?}");
    let compared = |rows: &[Entry], since_ms| {
        let account = account(3, 1_400, vec![]);
        let mut walk = Walk::new(&account);
        let row = rows.iter().find(|row| row.seq == 2);
        assert_eq!(walk.take_back(row, since_ms), Ok(false));
        walk.compared_a_balance()
    };
    assert!(compared(&rows, Some(AT_MS + 3)));
    let mut silent = wager(2);
    silent.remove("balance_after_minor");
    assert!(!compared(&[entry(silent)], Some(AT_MS + 3)), "nothing was compared");
}

#[test]
fn walk_finds_gaps_and_second_decisions() {
    let rows = [entry(deposit(1)), entry(wager(2))];
    assert_eq!(problem_of(&account(3, 1_400, vec![]), &rows[..1]), CheckId::Sequence);
    assert_eq!(problem_of(&account(3, 1_400, vec![]), &rows[1..]), CheckId::Sequence);
    let mut other = wager(2);
    other.insert("command_id", "another");
    assert_eq!(problem_of(&account(3, 1_400, vec![other]), &rows), CheckId::Sequence);
}

#[test]
fn walk_finds_wrong_balances_at_every_decision() {
    let rows = [entry(deposit(1)), entry(wager(2))];
    assert_eq!(problem_of(&account(3, 1_401, vec![]), &rows), CheckId::Balances);
    let mut stated = deposit(1);
    stated.insert("balance_after_minor", 999_i64);
    assert_eq!(problem_of(&account(3, 1_400, vec![]), &[entry(stated), entry(wager(2))]), CheckId::Balances);
    // Without its statement, only the sum of all postings shows the difference.
    let mut more = deposit(1);
    more.insert("postings", vec![leg("provider:card", -1_100), leg("player:ada", 1_100)]);
    more.remove("balance_after_minor");
    assert_eq!(
        problem_of(&account(3, 1_400, vec![]), &[entry(more), entry(wager(2))]),
        CheckId::NonNegative,
        "the player had -100 before"
    );
    let mut less = deposit(1);
    less.insert("postings", vec![leg("provider:card", -900), leg("player:ada", 900)]);
    less.remove("balance_after_minor");
    assert_eq!(problem_of(&account(3, 1_400, vec![]), &[entry(less), entry(wager(2))]), CheckId::Balances);
    let negative = account(1, -1, vec![]);
    assert_eq!(Walk::new(&negative).negative_balance().map(|(check, _)| check), Some(CheckId::NonNegative));
}

#[test]
fn walk_names_the_rows_that_it_needs() {
    let account = account(4, 0, vec![]);
    let walk = Walk::new(&account);
    assert_eq!(walk.next_rows(2), ["ada/3", "ada/2"]);
    assert_eq!(walk.next_rows(10), ["ada/3", "ada/2", "ada/1"]);
}

#[test]
fn postings_must_balance_and_be_the_players_own() {
    assert_eq!(rules::postings("ada", &entry(wager(2))), None);
    let with = |legs: Vec<Document>| {
        let mut document = wager(2);
        document.insert("postings", legs);
        rules::postings("ada", &entry(document)).expect("a problem").what
    };
    assert!(with(vec![leg("player:ada", -100), leg("house:slots", 99)]).contains("sum to -0.01 EUR"));
    let mut dollars = leg("house:slots", 100);
    dollars.insert("currency", "USD");
    assert!(with(vec![leg("player:ada", -100), dollars]).contains("sum to"));
    assert!(with(vec![leg("player:bob", -100), leg("house:slots", 100)]).contains("player:bob"));
    let mut rejection = wager(2);
    rejection.insert("outcome", "rejected");
    assert!(rules::postings("ada", &entry(rejection)).expect("a problem").what.contains("rejection"));
}

#[test]
fn row_must_be_a_decision_of_its_account() {
    let row = entry(wager(2));
    assert_eq!(rules::row_place("ada/2", "ada", &row, Some(3)), None);
    for (id, next_seq) in [("ada/3", Some(4)), ("bob/2", Some(3)), ("ada/2", Some(2)), ("ada/2", None)] {
        assert!(rules::row_place(id, "ada", &row, next_seq).is_some(), "{id} {next_seq:?}");
    }
}

/// A settled bet as game stores it.
fn bet(changes: Document) -> Bet {
    let mut bet = doc! {
        "_id": "bet-1", "player_id": "ada", "request_hash": "00", "game": "slots", "state": "settled",
        "stake_minor": 100_i64, "payout_minor": 500_i64, "currency": "EUR", "reels": ["cherry", "cherry", "lemon"],
        "pay_table_version": "slots-1", "decided_at": DateTime::from_millis(AT_MS),
        "ended_at": DateTime::from_millis(AT_MS + 5), "balance_minor": 1_400_i64, "sweeps": 0_i32, "trace": {},
    };
    bet.extend(changes);
    deserialize_from_document(bet).expect("a document of this form")
}

fn differs(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Differs(_))
}

#[test]
fn applied_wager_needs_its_bet() {
    let row = entry(wager(2));
    assert_eq!(row.applied_wager(), Some("bet-1"));
    let of = |changes: Document, is_young| rules::wager("ada", &row, Some(&bet(changes)), is_young);
    assert_eq!(of(doc! {}, false), Verdict::Agrees);
    assert_eq!(of(doc! { "state": "voided" }, false), Verdict::Agrees);
    assert_eq!(of(doc! { "state": "decided" }, true), Verdict::InFlight);
    assert!(differs(&rules::wager("ada", &row, None, true)), "a bet is stored before its wager is sent");
    for changes in [
        doc! { "state": "decided" },
        doc! { "state": "rejected" },
        doc! { "player_id": "bob" },
        doc! { "payout_minor": 400_i64 },
        doc! { "stake_minor": 101_i64 },
        doc! { "currency": "USD" },
    ] {
        assert!(differs(&of(changes.clone(), false)), "{changes}");
    }
    let mut rejected = wager(2);
    rejected.insert("outcome", "rejected");
    assert_eq!(entry(rejected).applied_wager(), None);
}

#[test]
fn settled_bet_needs_its_wager() {
    let row = entry(wager(2));
    assert!(bet(doc! {}).was_settled() && !bet(doc! { "state": "decided" }).was_settled());
    assert_eq!(rules::settled_bet(&bet(doc! {}), Some(("ada", &row))), None);
    assert!(rules::settled_bet(&bet(doc! {}), None).is_some());
    assert!(rules::settled_bet(&bet(doc! {}), Some(("bob", &row))).is_some());
    let mut rejected = wager(2);
    rejected.insert("outcome", "rejected");
    assert!(rules::settled_bet(&bet(doc! {}), Some(("ada", &entry(rejected)))).is_some());
}

#[test]
fn bet_must_end_or_wait_for_a_dead_letter() {
    let of = |changes: Document, age_ms: i64, letter| {
        let mut decided = doc! { "state": "decided" };
        decided.extend(changes);
        rules::ended(&bet(decided), AT_MS + age_ms, letter)
    };
    let (hour_ms, open) = (3_600_000, Some(Standing::Open));
    assert_eq!(rules::ended(&bet(doc! {}), AT_MS + hour_ms, None), Verdict::Agrees, "settled");
    assert_eq!(of(doc! {}, 60_000, None), Verdict::InFlight, "game still repeats the command");
    assert!(differs(&of(doc! {}, hour_ms, None)));
    assert_eq!(of(doc! {}, hour_ms, open), Verdict::Parked, "parked, not lost");
    let given_up = || doc! { "unanswered_at": DateTime::from_millis(AT_MS) };
    assert!(differs(&of(given_up(), 60_000, None)));
    assert_eq!(of(given_up(), 60_000, open), Verdict::Parked);
    assert_eq!(of(doc! {}, hour_ms, Some(Standing::Discarded)), Verdict::Agrees, "it stays pending");
    let replayed = |age_ms: i64| Some(Standing::Replayed { at_ms: AT_MS + hour_ms - age_ms });
    assert_eq!(of(doc! {}, hour_ms, replayed(60_000)), Verdict::InFlight, "it may still end");
    assert!(differs(&of(doc! {}, hour_ms, replayed(1_800_000))), "the replay did not end it");
    let ids = rules::awaited_ids(&bet(doc! {}));
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (4, 4), "{ids:?}");
    let of_payment = ids.iter().filter(|(group, _)| *group == Group::Payment).count();
    let of_game = ids.iter().filter(|(group, _)| *group == Group::Game).count();
    assert_eq!((of_payment, of_game), (1, 3), "payment has the command, game the answers: {ids:?}");
}

#[test]
fn payment_must_end_or_be_parked() {
    let of = |state: &str, age_ms: i64| {
        let intent = doc! {
            "_id": "pay-1", "player_id": "ada", "kind": "deposit", "amount_minor": 1_000_i64, "currency": "EUR",
            "state": state, "created_at": DateTime::from_millis(AT_MS),
        };
        let intent: Intent = deserialize_from_document(intent).expect("a document of this form");
        rules::payment_ended(&intent, AT_MS + age_ms)
    };
    for state in ["requested", "reported", "closed"] {
        assert_eq!(of(state, 60_000), Verdict::InFlight, "{state}");
        // A provider that never answers in time is asked for so long.
        assert_eq!(of(state, 47 * 60_000), Verdict::InFlight, "{state}");
        assert!(differs(&of(state, 3_600_000)), "{state}");
    }
    for state in ["settled", "parked"] {
        assert_eq!(of(state, 3_600_000), Verdict::Agrees, "{state}");
    }
}

/// The void of [`wager`], with these postings.
fn void(legs: Vec<Document>) -> Entry {
    let mut document = stored(3, &["c:x", "v:bet-1"], "VoidWager", "WagerVoided", legs, 1_000);
    document.insert("voids", "bet-1");
    entry(document)
}

#[test]
fn void_reverses_what_its_wager_moved() {
    let back = || {
        vec![
            leg("player:ada", 100),
            leg("house:slots", -100),
            leg("house:slots", 500),
            leg("player:ada", -500),
        ]
    };
    let wager = entry(wager(2));
    let voided = || bet(doc! { "state": "voided" });
    let of = |legs: Vec<Document>, bet: Option<Bet>, is_young| {
        rules::void("ada", &void(legs), Some(&wager), bet.as_ref(), is_young)
    };
    assert_eq!(void(back()).voided_wager(), Some("bet-1"));
    assert_eq!(of(back(), Some(voided()), false), Verdict::Agrees);
    let mut lent = back();
    lent.extend([leg("player:ada", 300), leg("suspense", -300)]);
    assert_eq!(of(lent, Some(voided()), false), Verdict::Agrees, "suspense pays what the player has spent");
    assert_eq!(of(back(), Some(bet(doc! {})), true), Verdict::InFlight);
    assert!(differs(&of(back(), Some(bet(doc! {})), false)), "the bet is still settled");
    assert!(differs(&of(vec![], Some(voided()), true)), "nothing was reversed");
    let foreign = vec![leg("player:bob", 100), leg("house:slots", -100)];
    assert!(differs(&of([back(), foreign].concat(), Some(voided()), true)));
    let taken = vec![leg("player:ada", -300), leg("suspense", 300)];
    assert!(differs(&of([back(), taken].concat(), Some(voided()), true)));
    // A void that came before its wager has nothing to reverse.
    assert_eq!(rules::void("ada", &void(vec![]), None, Some(&voided()), false), Verdict::Agrees);
    assert!(differs(&rules::void("ada", &void(back()), None, Some(&voided()), false)));
}

/// A pay table in the gateway's form.
fn tables() -> Vec<PayTable> {
    let table = json!({
        "game": "slots", "version": "slots-1", "stake_minor_min": 10, "combinations": 32_768,
        "pays": [
            { "line": ["seven", "seven", "seven"], "multiplier": 1_000 },
            { "line": ["cherry", "cherry", "cherry"], "multiplier": 20 },
            { "line": ["cherry", "cherry", "other"], "multiplier": 5 },
            { "line": ["cherry", "other", "any"], "multiplier": 2 },
        ],
    });
    vec![serde_json::from_value(table).expect("JSON of this form")]
}

#[test]
fn published_pay_table_decides_what_is_owed() {
    for (reels, multiplier) in [
        (["seven", "seven", "seven"], 1_000),
        (["cherry", "cherry", "cherry"], 20),
        (["cherry", "cherry", "lemon"], 5),
        (["cherry", "lemon", "cherry"], 2),
        (["lemon", "cherry", "cherry"], 0),
        (["seven", "seven", "bar"], 0),
    ] {
        let reels = reels.map(str::to_owned);
        assert_eq!(tables()[0].multiplier(&reels), Some(multiplier), "{reels:?}");
    }
    assert_eq!(tables()[0].multiplier(&["seven".to_owned()]), None);
}

#[test]
fn payout_faults_are_found() {
    let payout = |changes: Document| rules::payout(&bet(changes), &tables());
    assert_eq!(payout(doc! {}), None);
    assert_eq!(payout(doc! { "reels": ["lemon", "lemon", "bar"], "payout_minor": 0_i64 }), None);
    let scaled = payout(doc! { "payout_minor": 50_000_i64 }).expect("game.payout-scale is found");
    assert!(scaled.what.contains("5.00 EUR is owed, 500.00 EUR was paid"), "{scaled:?}");
    let amounts: Vec<_> = scaled.amounts.iter().map(|amount| (amount.name, amount.minor)).collect();
    assert_eq!(amounts, [("stake", 100), ("owed", 500), ("paid", 50_000)]);
    assert!(payout(doc! { "payout_minor": 365_i64 }).is_some(), "game.rtp-drift is found");
    assert!(payout(doc! { "pay_table_version": "slots-2" }).is_some(), "nothing says what is owed");
    assert!(payout(doc! { "reels": [] }).is_some());
}

fn line(changes: serde_json::Value) -> Line {
    let mut line = json!({
        "sequence": 9, "kind": "charge", "idempotency_key": "pay-1:capture", "payment_id": "pay-1",
        "reference": "card_1", "status": "captured", "amount_minor": 1_000, "currency": "EUR", "at_epoch_ms": AT_MS,
    });
    for (name, value) in changes.as_object().expect("an object") {
        line[name] = value.clone();
    }
    serde_json::from_value(line).expect("JSON of this form")
}

#[test]
fn payments_and_orders_must_agree() {
    let row = entry(deposit(1));
    let payment = row.completed().unwrap().expect("a payment");
    assert_eq!(
        (payment.id.as_str(), payment.kind, payment.amount_minor),
        ("pay-1", PaymentKind::Charge, 1_000)
    );
    assert_eq!(rules::payment(&payment, Some(&line(json!({})))), None);
    assert_eq!(rules::order(&line(json!({})), Some(&row), false), Verdict::Agrees);
    assert!(rules::payment(&payment, None).is_some());
    for changes in [
        json!({ "status": "declined" }),
        json!({ "amount_minor": 999 }),
        json!({ "currency": "USD" }),
        json!({ "kind": "payout" }),
    ] {
        assert!(rules::payment(&payment, Some(&line(changes.clone()))).is_some(), "{changes}");
        assert!(differs(&rules::order(&line(changes.clone()), Some(&row), true)), "{changes}");
    }
    assert_eq!(rules::order(&line(json!({})), None, true), Verdict::InFlight);
    assert!(differs(&rules::order(&line(json!({})), None, false)));
    let failed = stored(1, &["c:x", "r:pay-1"], "ProviderReported", "DepositFailed", vec![], 0);
    assert!(differs(&rules::order(&line(json!({})), Some(&entry(failed)), true)));
    let legs = vec![leg("suspense", -1_000), leg("provider:card", 1_000)];
    let paid_out = stored(1, &["c:x", "r:pay-1"], "ProviderReported", "WithdrawalCompleted", legs, 0);
    assert_eq!(
        rules::order(&line(json!({ "kind": "payout" })), Some(&entry(paid_out)), false),
        Verdict::Agrees
    );
    let nameless = stored(1, &["c:x"], "ProviderReported", "DepositCompleted", vec![], 0);
    assert!(entry(nameless).completed().is_err());
}

fn history_entry(changes: Document) -> HistoryEntry {
    let mut entry = doc! {
        "_id": "bet-1", "player_id": "ada", "kind": "bet", "place": "0:bet-1", "outcome": "settled", "game": "slots",
        "amount_minor": 100_i64, "payout_minor": 500_i64, "currency": "EUR", "at": DateTime::from_millis(AT_MS),
    };
    entry.extend(changes);
    deserialize_from_document(entry).expect("a document of this form")
}

#[test]
fn history_must_have_each_ended_bet() {
    let of =
        |bet: Bet, changes: Document, is_young| rules::history(&bet, Some(&history_entry(changes)), is_young);
    let settled = || bet(doc! {});
    assert_eq!(of(settled(), doc! {}, false), Some(Verdict::Agrees));
    assert_eq!(
        of(bet(doc! { "state": "voided" }), doc! { "outcome": "voided" }, false),
        Some(Verdict::Agrees)
    );
    let rejected = bet(doc! { "state": "rejected", "payout_minor": 0_i64 });
    let mut of_rejection = history_entry(doc! { "outcome": "rejected" });
    of_rejection.payout_minor = None;
    assert_eq!(rules::history(&rejected, Some(&of_rejection), false), Some(Verdict::Agrees));
    assert_eq!(rules::history(&bet(doc! { "state": "decided" }), None, false), None, "not ended");
    assert_eq!(rules::history(&settled(), None, true), Some(Verdict::InFlight));
    assert!(rules::history(&settled(), None, false).is_some_and(|verdict| differs(&verdict)));
    for changes in [
        doc! { "outcome": "voided" },
        doc! { "amount_minor": 1_i64 },
        doc! { "payout_minor": 1_i64 },
        doc! { "player_id": "bob" },
        doc! { "currency": "USD" },
    ] {
        assert_eq!(of(settled(), changes.clone(), true), Some(Verdict::InFlight), "{changes}");
        assert!(of(settled(), changes.clone(), false).is_some_and(|verdict| differs(&verdict)), "{changes}");
    }
}

fn fact_of(in_minor: i64, out_minor: i64) -> Fact {
    let fact = doc! {
        "_id": "f", "kind": "bet_settled", "currency": "EUR", "in_minor": in_minor, "out_minor": out_minor,
    };
    deserialize_from_document(fact).expect("a document of this form")
}

#[test]
fn history_and_facts_must_have_each_payment() {
    let payment = entry(deposit(1)).completed().unwrap().expect("a payment");
    let shown = |changes: Document| {
        let mut entry = doc! { "kind": "deposit", "outcome": "completed", "amount_minor": 1_000_i64 };
        entry.extend(changes);
        history_entry(entry)
    };
    let history =
        |entry: Option<&HistoryEntry>, is_young| rules::history_payment("ada", &payment, entry, is_young);
    assert_eq!(history(Some(&shown(doc! {})), false), Verdict::Agrees);
    assert_eq!(history(None, true), Verdict::InFlight);
    assert!(differs(&history(None, false)));
    for changes in [
        doc! { "kind": "withdrawal" },
        doc! { "outcome": "failed" },
        doc! { "amount_minor": 1_i64 },
        doc! { "player_id": "bob" },
        doc! { "currency": "USD" },
    ] {
        assert!(differs(&history(Some(&shown(changes.clone())), false)), "{changes}");
    }
    let counted = |fact: Option<&Fact>, is_young| rules::payment_fact(&payment, fact, is_young);
    assert_eq!(counted(Some(&fact_of(1_000, 0)), false), Verdict::Agrees);
    assert_eq!(counted(None, true), Verdict::InFlight);
    for fact in [None, Some(fact_of(0, 1_000)), Some(fact_of(999, 0)), Some(fact_of(1_000, 1))] {
        assert!(differs(&counted(fact.as_ref(), false)), "{fact:?}");
    }
}

#[test]
fn fact_must_have_the_bets_amounts() {
    let fact = |in_minor: i64| fact_of(in_minor, 500);
    assert_eq!(rules::fact(&bet(doc! {}), Some(&fact(100)), false), Verdict::Agrees);
    assert!(differs(&rules::fact(&bet(doc! {}), Some(&fact(99)), true)), "facts never change");
    assert_eq!(rules::fact(&bet(doc! {}), None, true), Verdict::InFlight);
    assert!(differs(&rules::fact(&bet(doc! {}), None, false)));
    let missing = || rules::fact(&bet(doc! {}), None, false);
    assert_eq!(rules::unless_parked(missing(), true, false), Verdict::Parked);
    assert_eq!(rules::unless_parked(missing(), false, true), Verdict::InFlight, "a letter may be held back");
    assert!(
        differs(&rules::unless_parked(missing(), false, false)),
        "replayed or discarded, and still missing"
    );
    assert_eq!(rules::unless_parked(Verdict::Agrees, true, true), Verdict::Agrees);
    let id = rules::fact_id(&bet(doc! {})).expect("an id");
    assert_eq!(id.len(), 36, "{id}");
}
