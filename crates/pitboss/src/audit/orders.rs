//! Pass over the card provider's statement: every captured order is a completed payment, once.

use anyhow::Result;

use super::Auditor;
use super::books::Source;
use super::report::CheckId;
use super::rules;
use super::statement::{CAPTURED, Line};
use super::tally::{Subject, Tally};

impl Auditor {
    /// Reads the whole statement, examines its captured orders in scope, and keeps them for the pass over the ledger.
    pub(super) async fn read_statement(&mut self, tally: &mut Tally) -> Result<()> {
        let mut since = 0;
        loop {
            let mut lines = self.provider.lines(since).await?;
            let Some(last) = lines.last() else { return Ok(()) };
            since = last.sequence;
            let since_ms = self.since_ms.unwrap_or(i64::MIN);
            lines.retain(|line| line.status == CAPTURED && line.at_epoch_ms >= since_ms);
            lines.iter().for_each(|line| self.statement.add(line));
            self.examine_orders(&lines, tally).await?;
        }
    }

    /// Examines captured orders. The ledger is read after them.
    pub(super) async fn examine_orders(&self, lines: &[Line], tally: &mut Tally) -> Result<()> {
        let key = |line: &Line| format!("r:{}", line.payment_id);
        let rows = self.books.rows_by_key(&lines.iter().map(key).collect::<Vec<_>>()).await?;
        for line in lines {
            let subject = Subject::Order(line.sequence);
            if let Some(first) = self.statement.captured_before(line) {
                let what = format!("the provider captured {} a second time", line.payment_id);
                tally.checked(CheckId::Orders, 1);
                tally.suspect(CheckId::Orders, &subject, what, &[Subject::Order(first)]);
                continue;
            }
            let row = rows.get(&key(line));
            let verdict = rules::order(line, row.map(|row| &row.entry), self.is_young(line.at_epoch_ms));
            let others: Vec<Subject> =
                row.iter().map(|row| Subject::Document(Source::Ledger, row.id.clone())).collect();
            tally.record(CheckId::Orders, &subject, verdict, &others);
        }
        Ok(())
    }
}
