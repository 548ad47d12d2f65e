//! Audit of a ledger. It trusts only stored documents and published records, and counts what it has checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::{Document, doc};
use contracts::proto::payments::v1::CommandConflict;
use contracts::{Event, EventType};
use money::{Account, Currency};
use payment::ledger::{AccountDoc, Entry};

use crate::provider::Provider;
use crate::world::{Published, WAIT_MAX, World, event_id};

/// Prefix of the audit's own events, which are not counted.
pub(crate) const END_MARKER: &str = "end-marker";

/// Result of an audit: the number of checked items, and the violations.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) accounts: usize,
    pub(crate) decisions: usize,
    pub(crate) events: usize,
    /// Money that moved through providers according to the ledger. Incoming amounts are negative.
    at_providers: BTreeMap<Currency, i64>,
    pub(crate) violations: Vec<String>,
}

impl Audit {
    /// Audits a ledger at rest, where every decision is in the ledger and published.
    pub(crate) async fn at_rest(world: &World) -> Self {
        let mut audit = Self::default();
        let accounts: Vec<AccountDoc> =
            world.mongo.collection("accounts").find(doc! {}, doc! { "_id": 1 }, 10_000).await.unwrap();
        Self::settle(world, &accounts).await;
        let rows: Vec<Document> = world
            .mongo
            .collection("ledger")
            .find(doc! {}, doc! { "player_id": 1, "seq": 1 }, 100_000)
            .await
            .unwrap();
        let mut ledger: HashMap<String, Vec<Entry>> = HashMap::new();
        for row in rows {
            let player_id = row.get_str("player_id").unwrap().to_owned();
            ledger.entry(player_id).or_default().push(bson::deserialize_from_document(row).unwrap());
        }
        let mut events = world.records.all();
        events.retain(|published| !published.message.contains(END_MARKER));
        audit.events = events.len();
        let mut decided = HashMap::new();
        let mut known = HashSet::new();
        for account in &accounts {
            let rows = ledger.remove(&account.player_id).unwrap_or_default();
            audit.account(account, &rows);
            let union = audit.union(account, rows);
            audit.balances(account, &union);
            audit.published_in_order(account, &union, &events);
            for entry in union {
                known.extend(entry.event.as_ref().map(|event| event.id.clone()));
                if let Some(other) = decided.insert(entry.command_id.clone(), entry.seq) {
                    audit.fail(format!(
                        "{} was decided twice: seq {other} and {}",
                        entry.command_id, entry.seq
                    ));
                }
            }
        }
        audit.nothing_else_was_published(&events, &known);
        audit
    }

    /// Audits a ledger at rest and compares it, to the cent, with the provider's own statement.
    pub(crate) async fn with_statement(world: &World, provider: &Provider) -> Self {
        let mut audit = Self::at_rest(world).await;
        if provider.captured() == 0 {
            audit.fail("the provider moved nothing: no statement was compared".to_owned());
        }
        let mut theirs = provider.statement();
        theirs.retain(|_, sum| *sum != 0);
        let sums = audit.at_providers.iter().filter(|(_, sum)| **sum != 0);
        let ours: BTreeMap<String, i64> =
            sums.map(|(currency, sum)| (currency.code().to_owned(), *sum)).collect();
        if ours != theirs {
            audit.fail(format!("the provider's statement says {theirs:?}, the ledger {ours:?}"));
        }
        audit
    }

    /// Waits until every acknowledged record was received. It publishes an end marker for each player, which arrives after them.
    async fn settle(world: &World, accounts: &[AccountDoc]) {
        for account in accounts {
            let marker = testkit::unique(END_MARKER);
            let message = CommandConflict {
                command_id: marker.clone(),
                command_type: EventType::ApplyWager.as_str().to_owned(),
                player_id: account.player_id.clone(),
            };
            let event = Event::follower(&event_id(&marker), "audit", message);
            world.producer.publish(&event).await.expect("acknowledged");
            testkit::eventually("the end marker", WAIT_MAX, || {
                let received =
                    world.records.all().iter().any(|published| published.message.contains(&marker));
                async move { received.then_some(()) }
            })
            .await;
        }
    }

    fn fail(&mut self, what: String) {
        self.violations.push(what);
    }

    fn account(&mut self, account: &AccountDoc, rows: &[Entry]) {
        self.accounts += 1;
        self.decisions += rows.len();
        let player = &account.player_id;
        for entry in &account.tail {
            match rows.iter().find(|row| row.seq == entry.seq) {
                None => self.fail(format!("{player}: seq {} is not in the ledger", entry.seq)),
                Some(row) if row != entry => {
                    self.fail(format!("{player}: seq {} differs from its row", entry.seq))
                }
                Some(_) => {}
            }
        }
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let expected: Vec<i64> = (1..account.next_seq).collect();
        if seqs != expected {
            self.fail(format!("{player}: the ledger holds seq {seqs:?}, expected 1..{}", account.next_seq));
        }
    }

    /// Returns tail and ledger together, one entry per `seq`, in order.
    fn union(&mut self, account: &AccountDoc, rows: Vec<Entry>) -> Vec<Entry> {
        let mut union: BTreeMap<i64, Entry> = rows.into_iter().map(|row| (row.seq, row)).collect();
        for entry in &account.tail {
            let known = union.entry(entry.seq).or_insert_with(|| entry.clone());
            if known != entry {
                self.violations.push(format!("{}: two decisions with seq {}", account.player_id, entry.seq));
            }
        }
        union.into_values().collect()
    }

    fn balances(&mut self, account: &AccountDoc, union: &[Entry]) {
        let own = Account::Player(account.player_id.clone());
        let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
        for entry in union {
            let total: i64 = entry.postings.iter().map(|leg| leg.amount_minor).sum();
            if total != 0 {
                self.fail(format!("{}: postings of seq {} sum to {total}", account.player_id, entry.seq));
            }
            if entry.is_rejection() && !entry.postings.is_empty() {
                self.fail(format!("{}: the rejection seq {} moved money", account.player_id, entry.seq));
            }
            for leg in entry.postings.iter().filter(|leg| matches!(leg.account, Account::Provider(_))) {
                *self.at_providers.entry(leg.currency).or_insert(0) += leg.amount_minor;
            }
            for leg in entry.postings.iter().filter(|leg| leg.account == own) {
                let sum = sums.entry(leg.currency).or_insert(0);
                *sum += leg.amount_minor;
            }
            if sums.values().any(|sum| *sum < 0) {
                self.fail(format!("{}: negative balance at seq {}", account.player_id, entry.seq));
            }
        }
        let stored: BTreeMap<Currency, i64> =
            account.balances.clone().into_iter().filter(|(_, b)| *b != 0).collect();
        sums.retain(|_, sum| *sum != 0);
        if stored != sums {
            self.fail(format!("{}: stored balances {stored:?}, postings say {sums:?}", account.player_id));
        }
    }

    /// Checks that every event of this account is on the topic, always as the same bytes, and first seen in order of `seq`.
    fn published_in_order(&mut self, account: &AccountDoc, union: &[Entry], events: &[Published]) {
        let mut last = (-1_i64, 0_i64);
        for entry in union {
            let Some(event) = &entry.event else { continue };
            let copies: Vec<&Published> =
                events.iter().filter(|published| published.id == event.id).collect();
            let Some(first) = copies.first() else {
                self.fail(format!(
                    "{}: the event of seq {} was never published",
                    account.player_id, entry.seq
                ));
                continue;
            };
            if copies.iter().any(|copy| copy.bytes != first.bytes) {
                self.fail(format!(
                    "{}: the event of seq {} was published with other bytes",
                    account.player_id, entry.seq
                ));
            }
            if first.offset < last.0 {
                self.fail(format!(
                    "{}: seq {} was published before seq {}",
                    account.player_id, entry.seq, last.1
                ));
            }
            last = (first.offset, entry.seq);
        }
    }

    fn nothing_else_was_published(&mut self, events: &[Published], known: &HashSet<String>) {
        let decisions = events.iter().filter(|published| published.event_type != EventType::CommandConflict);
        for published in decisions.filter(|published| !known.contains(&published.id)) {
            self.fail(format!("{} {} was published, but never decided", published.event_type, published.id));
        }
    }

    /// Asserts that there are no violations. An audit that has checked nothing fails too.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        assert!(self.violations.is_empty(), "{self:#?}");
        assert!(self.accounts > 0 && self.decisions > 0 && self.events > 0, "nothing was checked: {self:?}");
    }
}
