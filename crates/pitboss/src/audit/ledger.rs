//! Pass over the ledger: postings, the place of each row, wagers and voids against bets.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use store::bson::Document;

use super::books::{Source, decode, id_of, row};
use super::documents::{Bet, Row};
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, rules};

impl Auditor {
    /// Examines ledger rows. Accounts and bets are read after them: an account has decided before its row is written, and a bet is
    /// stored before its wager is sent.
    pub(super) async fn examine_rows(&self, documents: &[Document], tally: &mut Tally) -> Result<()> {
        let mut rows = Vec::with_capacity(documents.len());
        for document in documents {
            match row(document) {
                Ok(row) => rows.push(row),
                Err(what) => {
                    let subject = Subject::Document(Source::Ledger, id_of(document));
                    tally.expect_none(CheckId::Postings, &subject, Some(what));
                }
            }
        }
        let players: BTreeSet<&str> = rows.iter().map(|row| row.player_id.as_str()).collect();
        let players: Vec<String> = players.into_iter().map(str::to_owned).collect();
        let mut next_seqs: HashMap<String, i64> = HashMap::new();
        for players in players.chunks(super::ACCOUNTS_AT_ONCE as usize) {
            let accounts = self.books.by_id(Source::Accounts, players).await?;
            next_seqs.extend(
                accounts.iter().filter_map(|(player, account)| {
                    Some((player.clone(), account.get_i64("next_seq").ok()?))
                }),
            );
        }
        for row in &rows {
            let subject = subject(row);
            let next_seq = next_seqs.get(&row.player_id).copied();
            let place = rules::row_place(&row.id, &row.player_id, &row.entry, next_seq);
            tally.expect_none(CheckId::Postings, &subject, rules::postings(&row.player_id, &row.entry));
            tally.expect_none(CheckId::Rows, &subject, place);
        }
        self.examine_ledger_events(&rows, tally);
        self.examine_wagers(&rows, tally).await?;
        self.examine_voids(&rows, tally).await?;
        self.examine_payments(&rows, tally).await
    }

    async fn examine_wagers(&self, rows: &[Row], tally: &mut Tally) -> Result<()> {
        let ids: Vec<String> =
            rows.iter().filter_map(|row| row.entry.applied_wager()).map(str::to_owned).collect();
        let bets = self.books.by_id(Source::Bets, &ids).await?;
        for row in rows {
            let Some(id) = row.entry.applied_wager() else { continue };
            let verdict = match bets.get(id).map(decode::<Bet>).transpose() {
                Ok(bet) => {
                    let is_young = self.is_pending(&row.player_id, row.entry.at.timestamp_millis());
                    rules::wager(&row.player_id, &row.entry, bet.as_ref(), is_young)
                }
                Err(what) => Verdict::Differs(what),
            };
            tally.record(
                CheckId::Wagers,
                &subject(row),
                verdict,
                &[Subject::Document(Source::Bets, id.to_owned())],
            );
        }
        Ok(())
    }

    /// Examines voids. Wagers and bets are read after them: a void is decided after the wager that it reverses.
    async fn examine_voids(&self, rows: &[Row], tally: &mut Tally) -> Result<()> {
        let ids: Vec<String> =
            rows.iter().filter_map(|row| row.entry.voided_wager()).map(str::to_owned).collect();
        let keys: Vec<String> = ids.iter().map(|id| format!("w:{id}")).collect();
        let wagers = self.books.rows_by_key(&keys).await?;
        let bets = self.books.by_id(Source::Bets, &ids).await?;
        for row in rows {
            let Some(id) = row.entry.voided_wager() else { continue };
            let wager = wagers.get(&format!("w:{id}"));
            let verdict = match bets.get(id).map(decode::<Bet>).transpose() {
                Ok(bet) => {
                    let is_young = self.is_pending(&row.player_id, row.entry.at.timestamp_millis());
                    let entry = wager.map(|wager| &wager.entry);
                    rules::void(&row.player_id, &row.entry, entry, bet.as_ref(), is_young)
                }
                Err(what) => Verdict::Differs(what),
            };
            let others =
                wager.map(subject).into_iter().chain([Subject::Document(Source::Bets, id.to_owned())]);
            tally.record(CheckId::Voids, &subject(row), verdict, &others.collect::<Vec<_>>());
        }
        Ok(())
    }
}

pub(super) fn subject(row: &Row) -> Subject {
    Subject::Document(Source::Ledger, row.id.clone())
}
