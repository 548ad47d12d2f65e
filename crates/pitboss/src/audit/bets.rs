//! Passes over bets and histories: wagers, payouts, the players' histories and the facts of analytics.

use std::collections::HashMap;

use anyhow::Result;
use contracts::EventType;
use serde::de::DeserializeOwned;
use store::bson::Document;

use super::books::{Source, by_id, decode};
use super::documents::{Bet, Fact, HistoryEntry};
use super::facts::Judged;
use super::report::CheckId;
use super::rules::Standing;
use super::tally::{Subject, Tally, Verdict};
use super::violation::Violation;
use super::{Auditor, decode_all, rules};

/// Type of the command that a wager is applied by.
pub(super) const APPLY_WAGER: &str = EventType::ApplyWager.as_str();

impl Auditor {
    /// Examines bets. The ledger is read after them: a wager has its row before the bet is settled.
    pub(super) async fn examine_bets(&self, documents: &[Document], tally: &mut Tally) -> Result<()> {
        let bets: Vec<Bet> = decode_all(Source::Bets, CheckId::SettledBets, documents, tally);
        let settled: Vec<&Bet> = bets.iter().filter(|bet| bet.was_settled()).collect();
        let key = |bet: &Bet| format!("w:{}", bet.id);
        let keys: Vec<String> = settled.iter().map(|bet| key(bet)).collect();
        let rows = self.books.rows_by_key(&keys).await?;
        for bet in &settled {
            let row = rows.get(&key(bet)).map(|row| (row.player_id.as_str(), &row.entry));
            tally.expect_none(CheckId::SettledBets, &subject(bet), rules::settled_bet(bet, row));
            // Nothing changes reels and payout of a settled bet, and the tables were read once.
            tally.expect_none_ever(CheckId::Payouts, &subject(bet), rules::payout(bet, &self.tables));
        }
        self.examine_bet_events(&bets, tally);
        self.examine_ends(&bets, tally).await?;
        self.examine_facts(&settled, tally).await?;
        self.examine_histories(&bets, tally).await
    }

    /// Examines whether bets have ended. The dead letters are read after them.
    async fn examine_ends(&self, bets: &[Bet], tally: &mut Tally) -> Result<()> {
        let now_ms = self.books.now_ms();
        if bets.iter().any(|bet| rules::is_overdue(bet, now_ms)) {
            self.parked.update().await?;
        }
        for bet in bets {
            let letter = rules::is_overdue(bet, now_ms).then(|| self.awaited_letter(bet)).flatten();
            let verdict = match rules::ended(bet, now_ms, letter) {
                Verdict::Differs(_) if self.is_end_held(bet) => Verdict::InFlight,
                verdict => verdict,
            };
            tally.record(CheckId::BetsEnded, &subject(bet), verdict, &[]);
        }
        Ok(())
    }

    /// Says what has become of the dead letters of the records that a bet waits for.
    fn awaited_letter(&self, bet: &Bet) -> Option<Standing> {
        let awaited = rules::awaited_ids(bet);
        awaited.iter().filter_map(|(group, id)| self.parked.standing(*group, id)).max()
    }

    /// Returns true if what ends a bet, or the dead letter of that, may be held back by an open transaction.
    fn is_end_held(&self, bet: &Bet) -> bool {
        self.parked.may_be_held() || self.published.may_be_held(&bet.player_id)
    }

    async fn examine_facts(&self, settled: &[&Bet], tally: &mut Tally) -> Result<()> {
        let ids: Vec<String> = settled.iter().filter_map(|bet| rules::fact_id(bet)).collect();
        let facts = by_id(&self.books.facts, &ids).await?;
        let judge = |bet: &&Bet| {
            let at_ms = bet.ended_at.unwrap_or(bet.decided_at).timestamp_millis();
            let is_young = self.is_pending(&bet.player_id, at_ms);
            let rule = |fact: Option<&Fact>| rules::fact(bet, fact, is_young);
            Judged::new(subject(bet), rules::fact_id(bet).as_deref(), &facts, rule)
        };
        let judged: Vec<Judged> = settled.iter().map(judge).collect();
        self.record_facts(CheckId::Facts, judged, tally).await
    }

    async fn examine_histories(&self, bets: &[Bet], tally: &mut Tally) -> Result<()> {
        let ids: Vec<String> = bets.iter().map(|bet| bet.id.clone()).collect();
        let entries = self.books.by_id(Source::History, &ids).await?;
        for bet in bets {
            let is_young = self.is_pending(&bet.player_id, bet.changed_at_ms());
            let verdict = match found::<HistoryEntry>(&entries, &bet.id) {
                Ok(entry) => rules::history(bet, entry.as_ref(), is_young),
                Err(what) => Some(Verdict::Differs(what)),
            };
            if let Some(verdict) = verdict {
                let entry = Subject::Document(Source::History, bet.id.clone());
                tally.record(CheckId::History, &subject(bet), verdict, &[entry]);
            }
        }
        Ok(())
    }

    /// Examines entries of histories. The bets are read after them: a bet is stored before its outcome is published.
    pub(super) async fn examine_history(&self, documents: &[Document], tally: &mut Tally) -> Result<()> {
        let entries: Vec<HistoryEntry> = decode_all(Source::History, CheckId::HistoryBets, documents, tally);
        let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        let bets = self.books.by_id(Source::Bets, &ids).await?;
        for entry in &entries {
            let problem = (!bets.contains_key(&entry.id))
                .then(|| format!("the history has a {} bet that game does not know", entry.outcome).into());
            let subject = Subject::Document(Source::History, entry.id.clone());
            tally.expect_none(CheckId::HistoryBets, &subject, problem);
        }
        Ok(())
    }
}

fn subject(bet: &Bet) -> Subject {
    Subject::Document(Source::Bets, bet.id.clone())
}

/// Returns the document with this id, decoded.
pub(super) fn found<T: DeserializeOwned>(
    documents: &HashMap<String, Document>,
    id: &str,
) -> Result<Option<T>, Violation> {
    documents.get(id).map(decode).transpose()
}
