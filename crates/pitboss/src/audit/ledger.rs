//! Pass over the ledger: postings, the place of each row, wagers against bets, and payments against the provider.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use contracts::EventType;
use store::bson::Document;

use super::books::{Source, decode, id_of, row};
use super::documents::{Bet, Row};
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, rules};

/// Types of the events that complete a payment.
pub(super) const COMPLETED: [&str; 2] =
    [EventType::DepositCompleted.as_str(), EventType::WithdrawalCompleted.as_str()];

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
        self.examine_wagers(&rows, tally).await?;
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
                    let is_young = self.is_young(row.entry.at.timestamp_millis());
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

    async fn examine_payments(&self, rows: &[Row], tally: &mut Tally) -> Result<()> {
        for row in rows {
            let payment = match row.entry.completed() {
                Ok(None) => continue,
                Ok(Some(payment)) => payment,
                Err(what) => {
                    tally.expect_none(CheckId::Payments, &subject(row), Some(what));
                    continue;
                }
            };
            // A payment that was captured after the statement was read, or before the mark, is looked up by its key.
            let line = match self.statement.find(&payment.id) {
                Some(line) => Some(line),
                None => self.provider.find(payment.kind, &payment.id).await?,
            };
            let others: Vec<Subject> = line.iter().map(|line| Subject::Order(line.sequence)).collect();
            let problem = rules::payment(&payment, line.as_ref());
            let verdict = problem.map_or(Verdict::Agrees, Verdict::Differs);
            tally.record(CheckId::Payments, &subject(row), verdict, &others);
        }
        Ok(())
    }
}

fn subject(row: &Row) -> Subject {
    Subject::Document(Source::Ledger, row.id.clone())
}
