//! Pass over the card provider's statement: every captured order is a completed payment, once.

use anyhow::{Result, bail};

use super::Auditor;
use super::books::Source;
use super::mark::LastLine;
use super::report::CheckId;
use super::rules;
use super::statement::{CAPTURED, Line};
use super::tally::{Subject, Tally};
use super::violation::{Amount, Violation};

impl Auditor {
    /// Reads the statement from the mark on, examines its captured orders in scope, and keeps all of them for the pass over the
    /// ledger. Returns the last line.
    pub(super) async fn read_statement(&mut self, tally: &mut Tally) -> Result<Option<LastLine>> {
        let mut last_line = self.from.line.clone();
        // After a line of the mark, every line is new. Without one, the whole statement is read and its times decide.
        let since_ms = if last_line.is_some() { None } else { self.since_ms };
        loop {
            let since = last_line.as_ref().map_or(0, |line| line.sequence);
            let mut lines = self.provider.lines(since).await?;
            let Some(last) = lines.last() else { return Ok(last_line) };
            last_line = Some(LastLine::from(last));
            lines.retain(|line| line.status == CAPTURED);
            lines.iter().for_each(|line| self.statement.add(line));
            lines.retain(|line| since_ms.is_none_or(|since_ms| line.at_epoch_ms >= since_ms));
            self.examine_orders(&lines, tally).await?;
        }
    }

    /// Refuses a mark of another platform, or of this one before its data were removed.
    pub(super) async fn check_mark(&self) -> Result<()> {
        if let Some(line) = &self.from.line {
            let found = self.provider.line(line.sequence).await?;
            if found.is_none_or(|found| found.payment_id != line.payment_id) {
                bail!(
                    "the mark does not fit this platform: line {} of the provider's statement is another one. Remove the mark to read all records",
                    line.sequence
                );
            }
        }
        Ok(())
    }

    /// Returns the number of the first line that captured this payment, if it is another line. What was read before the mark is
    /// looked up at the provider.
    async fn captured_before(&self, line: &Line) -> Result<Option<u64>> {
        let known = self.statement.captured_before(line);
        if known.is_some() || self.from.line.is_none() {
            return Ok(known);
        }
        let first = self.provider.find(line.kind, &line.payment_id).await?;
        Ok(first
            .filter(|first| first.status == CAPTURED && first.sequence < line.sequence)
            .map(|first| first.sequence))
    }

    /// Examines captured orders. The ledger is read after them.
    pub(super) async fn examine_orders(&self, lines: &[Line], tally: &mut Tally) -> Result<()> {
        let key = |line: &Line| format!("r:{}", line.payment_id);
        let rows = self.books.rows_by_key(&lines.iter().map(key).collect::<Vec<_>>()).await?;
        for line in lines {
            let subject = Subject::Order(line.sequence);
            if let Some(first) = self.captured_before(line).await? {
                let amount = Amount::new("captured", line.amount_minor, &line.currency);
                let what = format!("the provider captured {amount} of {} a second time", line.payment_id);
                let what = Violation::of(what, [amount]);
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
