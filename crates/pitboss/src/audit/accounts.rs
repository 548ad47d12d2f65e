//! Pass over the accounts: numbers of the decisions and balances, from tail and ledger together.

use std::collections::HashMap;

use anyhow::Result;
use store::bson::Document;

use super::books::{Source, row};
use super::documents::AccountDoc;
use super::report::CheckId;
use super::tally::{Subject, Tally};
use super::walk::{Problem, Walk};
use super::{Auditor, decode_all, rules};

/// Number of ledger rows that are read at a time.
const ROWS_AT_ONCE: usize = 1_000;

impl Auditor {
    /// Examines accounts with all their decisions in scope. The ledger is read after the accounts: every decision of an account
    /// was in its tail or had its row when the account was read, and rows never change.
    pub(super) async fn examine_accounts(&self, documents: &[Document], tally: &mut Tally) -> Result<()> {
        let accounts: Vec<AccountDoc> = decode_all(Source::Accounts, CheckId::Balances, documents, tally);
        let mut walks: Vec<Walk<'_>> = accounts.iter().map(Walk::new).collect();
        for walk in &walks {
            let problem = walk.negative_balance();
            tally.checked(CheckId::NonNegative, 1);
            report(walk, problem, tally);
        }
        loop {
            let open = walks.iter().filter(|walk| !walk.is_done()).count();
            if open == 0 {
                break;
            }
            let share = (ROWS_AT_ONCE / open).max(1);
            let ids: Vec<String> = walks.iter().flat_map(|walk| walk.next_rows(share)).collect();
            let rows = self.books.by_id(Source::Ledger, &ids).await?;
            for walk in &mut walks {
                self.advance(walk, share, &rows, tally);
            }
        }
        for walk in &walks {
            if walk.compared_a_balance() {
                tally.checked(CheckId::Balances, 1);
            }
            report(walk, walk.remainder(), tally);
        }
        Ok(())
    }

    /// Undoes at most `count` decisions.
    fn advance(
        &self,
        walk: &mut Walk<'_>,
        count: usize,
        rows: &HashMap<String, Document>,
        tally: &mut Tally,
    ) {
        let since_ms = self.walk_since_ms(&subject(walk));
        for _ in 0..count {
            if walk.is_done() {
                return;
            }
            // A row that cannot be read is a finding of the pass over the ledger, and one that is missing here.
            let row = rows.get(&walk.next_row()).and_then(|document| row(document).ok());
            let only_in_tail = if row.is_none() { walk.next_in_tail() } else { None };
            match walk.take_back(row.as_ref().map(|row| &row.entry), since_ms) {
                Ok(true) => {
                    tally.checked(CheckId::Sequence, 1);
                    tally.checked(CheckId::NonNegative, 1);
                }
                Ok(false) => return,
                Err(problem) => {
                    report(walk, Some(problem), tally);
                    return;
                }
            }
            if let Some(entry) = only_in_tail {
                let player_id = &walk.account().player_id;
                tally.expect_none(CheckId::Postings, &subject(walk), rules::postings(player_id, entry));
                // Its row may be written after the ledger was read, with a time before the mark.
                tally.keep_open(Subject::Document(Source::Ledger, format!("{player_id}/{}", entry.seq)));
                // Its event is published after the row. The next audit has to know that it is not before the mark.
                if let Some(event) = entry.event.as_ref().filter(|event| !self.published.has(&event.id)) {
                    tally.keep_open(Subject::Event(event.id.clone()));
                }
            }
        }
    }
}

fn report(walk: &Walk<'_>, problem: Option<Problem>, tally: &mut Tally) {
    if let Some((check, violation)) = problem {
        tally.suspect(check, &subject(walk), violation, &[]);
    }
}

fn subject(walk: &Walk<'_>) -> Subject {
    Subject::Document(Source::Accounts, walk.account().player_id.clone())
}
