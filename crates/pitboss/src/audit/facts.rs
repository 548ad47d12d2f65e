//! Facts of analytics: what is missing because analytics parked its event is counted, and is no finding.
//!
//! Whoever broke analytics has to repair it and replay the letter. After that, and after a discard, a missing fact is a finding.

use std::collections::HashMap;

use anyhow::Result;
use store::bson::Document;

use super::bets::found;
use super::documents::Fact;
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, rules};

/// Verdict on the fact of one event.
pub(super) struct Judged {
    subject: Subject,
    /// Id of the event, if it has no fact.
    missing: Option<String>,
    verdict: Verdict,
}

impl Judged {
    /// Judges the fact of an event by `rule`. A subject without an event has no fact.
    pub(super) fn new(
        subject: Subject,
        event_id: Option<&str>,
        facts: &HashMap<String, Document>,
        rule: impl FnOnce(Option<&Fact>) -> Verdict,
    ) -> Self {
        let missing = event_id.filter(|id| !facts.contains_key(*id)).map(str::to_owned);
        let verdict = match event_id.map_or(Ok(None), |id| found::<Fact>(facts, id)) {
            Ok(fact) => rule(fact.as_ref()),
            Err(what) => Verdict::Differs(what),
        };
        Self { subject, missing, verdict }
    }

    fn is_lost(&self) -> bool {
        self.missing.is_some() && matches!(self.verdict, Verdict::Differs(_))
    }
}

impl Auditor {
    /// Records verdicts on facts. If a fact is lost, the dead letters are read after the facts: what was replayed in between is
    /// found when the suspect is examined again.
    pub(super) async fn record_facts(
        &self,
        check: CheckId,
        judged: Vec<Judged>,
        tally: &mut Tally,
    ) -> Result<()> {
        if judged.iter().any(Judged::is_lost) {
            self.parked.update().await?;
        }
        for Judged { subject, missing, verdict } in judged {
            let verdict = match missing {
                Some(event_id) => {
                    let is_open = self.parked.is_open_in_analytics(&event_id);
                    rules::unless_parked(verdict, is_open, self.parked.may_be_held())
                }
                None => verdict,
            };
            tally.record(check, &subject, verdict, &[]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use store::bson::doc;

    use super::*;
    use crate::audit::books::Source;

    #[test]
    fn only_a_fact_that_is_not_there_is_missing() {
        let fact = doc! { "_id": "e-1", "currency": "EUR", "in_minor": 1_i64, "out_minor": 0_i64 };
        let facts = HashMap::from([("e-1".to_owned(), fact), ("e-2".to_owned(), doc! { "_id": "e-2" })]);
        let judged = |event_id| {
            let subject = Subject::Document(Source::Bets, "bet-1".to_owned());
            Judged::new(subject, event_id, &facts, |_| Verdict::Differs("it differs".into()))
        };
        assert!(!judged(Some("e-1")).is_lost(), "it is there with other amounts");
        assert!(!judged(Some("e-2")).is_lost(), "it is there and cannot be read");
        assert!(judged(Some("e-3")).is_lost());
        assert!(!judged(None).is_lost(), "no event is known");
    }
}
