//! Events of documents: every ended bet and every decision has its event on the topic.
//!
//! An event follows its document, so it may be on its way. The topics are read on before a document is examined again. While an
//! open transaction of another producer holds records of its partition back, it is unknown whether the event is there.

use contracts::{EventId, Topic};

use super::books::Source;
use super::documents::{Bet, Entry, Row};
use super::published::{Digest, Presence, digest};
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, event_rules};

/// Event that a document must have.
struct Awaited<'a> {
    check: CheckId,
    event_id: &'a str,
    what: String,
    at_ms: i64,
}

impl Auditor {
    /// Looks on the topics for the event of each ended bet.
    pub(super) fn examine_bet_events(&self, bets: &[Bet], tally: &mut Tally) {
        for bet in bets {
            let Some(event_type) = event_rules::event_of_bet(bet) else { continue };
            let Ok(bet_id) = bet.id.parse::<EventId>() else { continue };
            let event_id = contracts::ids::follower_id(&bet_id, event_type);
            let subject = Subject::Document(Source::Bets, bet.id.clone());
            let at_ms = bet.changed_at_ms();
            let presence =
                self.published.presence(Topic::BetsEvents, event_id.as_str(), &bet.player_id, at_ms);
            let what = format!("the bet is {}, and its {} {event_id}", bet.state, event_type.short_name());
            let awaited = Awaited { check: CheckId::BetEvents, event_id: event_id.as_str(), what, at_ms };
            self.judge_presence(&awaited, &subject, presence, None, tally);
        }
    }

    /// Looks on the topic for the event of each decision, and compares it byte for byte.
    pub(super) fn examine_ledger_events(&self, rows: &[Row], tally: &mut Tally) {
        for row in rows {
            let Entry { event: Some(event), at, .. } = &row.entry else { continue };
            let subject = super::ledger::subject(row);
            let at_ms = at.timestamp_millis();
            let presence = self.published.presence(Topic::PaymentsEvents, &event.id, &row.player_id, at_ms);
            let what = format!("seq {} was decided, and its event {}", row.entry.seq, event.id);
            let awaited = Awaited { check: CheckId::LedgerEvents, event_id: &event.id, what, at_ms };
            let content = event.value().map(|value| digest(&event.event_type, value));
            self.judge_presence(&awaited, &subject, presence, content, tally);
        }
    }

    /// Returns true if the event of a document of this time may have been published after the topics were read the last time.
    fn is_awaited(&self, at_ms: i64) -> bool {
        may_follow(at_ms, self.published.read_at_ms(), self.in_flight_ms)
    }

    /// Judges whether the event of a document is on its topic, with this content if it is known.
    fn judge_presence(
        &self,
        awaited: &Awaited<'_>,
        subject: &Subject,
        presence: Presence,
        content: Option<Digest>,
        tally: &mut Tally,
    ) {
        let Awaited { check, event_id, what, at_ms } = awaited;
        let marker = Subject::Event((*event_id).to_owned());
        let missing = || Verdict::Differs(format!("{what} is not on the topic").into());
        let verdict = match presence {
            Presence::Published(place, digest) if content.is_some_and(|content| content != digest) => {
                let verdict = Verdict::Differs(format!("{what} has another content on the topic").into());
                tally.record(*check, subject, verdict, &[place]);
                return;
            }
            Presence::Published(..) => Verdict::Agrees,
            Presence::Deleted => Verdict::Deleted,
            // An earlier audit found the event, unless its marker says that it did not.
            Presence::Held { is_earlier: true } if !self.from.open.contains(&marker) => return,
            Presence::Held { .. } => Verdict::InFlight,
            Presence::Missing if self.is_awaited(*at_ms) => Verdict::InFlight,
            Presence::Missing => missing(),
            Presence::Earlier if self.from.open.contains(&marker) => missing(),
            Presence::Earlier => return,
        };
        if matches!(verdict, Verdict::InFlight | Verdict::Differs(_)) {
            tally.keep_open(marker);
        }
        tally.record(*check, subject, verdict, &[]);
    }
}

/// Returns true if what follows a document of this time within the time in flight may be younger than the last read.
const fn may_follow(at_ms: i64, read_at_ms: i64, in_flight_ms: i64) -> bool {
    at_ms > read_at_ms.saturating_sub(in_flight_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_awaited_from_the_last_read_on() {
        assert!(!may_follow(40_000, 100_000, 60_000), "it had to be there when the topics were read");
        assert!(may_follow(40_001, 100_000, 60_000), "however long ago that read was");
        assert!(!may_follow(100_000, 100_000, 0));
        assert!(may_follow(0, 100_000, i64::MAX));
    }
}
