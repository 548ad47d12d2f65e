//! Dead letters of a drill, as `./pitboss dlq` reads and handles them.
//!
//! A drill acts only on letters that it caused. Other traffic may park records at the same time, and those belong to somebody else.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use bus::REJECTED_ON_PURPOSE;
use bus::letter::{ActError, Action, FirstPlace, Keep, Letter, LetterId, Note, Replayed};
use contracts::Group;
use contracts::headers::{self, CE_SOURCE};
use faults::FaultId;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::actuators::POISON_SOURCE;
use crate::broker::BrokerArgs;
use crate::commands::Context;
use crate::dlq::desk::{Clerk, Desk, PlaceArgs, Selected};
use crate::dlq::entry::{Batch, Entry, batches};
use crate::dlq::filter::FilterArgs;
use crate::drill::LetterAction;
use crate::drill::stage::LettersDone;
use crate::evidence::{Observation, Transaction, Window};

/// Number of letters that a drill handles.
const LETTERS_MAX: usize = 200;
/// Longest wait for replayed records, which are handled or come back.
const REPLAYED_MAX: Duration = Duration::from_secs(20);
/// Interval at which they are looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Class of a letter whose handler panicked, as `bus` names it.
const PANIC: &str = "panic";
/// Author in the record of an action.
const BY: &str = "drill";

/// Dead letters that a drill caused: those of its faults, and later copies of the records on which it acted.
#[derive(Clone, Debug, Default)]
pub(super) struct Caused {
    /// Faults that the drill has armed.
    faults: BTreeSet<FaultId>,
    /// Groups in which the drill let a handler panic.
    panics: BTreeSet<Group>,
    /// Records on which it acted, each with the group that had parked it. A replayed record may come back for another reason.
    records: BTreeSet<(Group, FirstPlace)>,
}

impl Caused {
    /// Adds the letters of a fault.
    pub(super) fn add(&mut self, fault: FaultId) {
        self.faults.insert(fault);
    }

    /// Adds the letters of a group whose handler panicked.
    pub(super) fn add_panics(&mut self, group: Group) {
        self.panics.insert(group);
    }

    fn has(&self, letter: &Letter) -> bool {
        let panicked = letter.verdict.class == PANIC && self.panics.contains(&letter.id.group);
        panicked
            || self.records.contains(&record_of(letter))
            || self.faults.iter().any(|fault| is_of(*fault, letter))
    }
}

fn record_of(letter: &Letter) -> (Group, FirstPlace) {
    (letter.id.group, letter.first.clone())
}

/// Returns true if this fault parked the letter's record: the reason or the producer is one that only the fault gives.
fn is_of(fault: FaultId, letter: &Letter) -> bool {
    match fault {
        FaultId::ConsumerDelayedOnPurpose => letter.verdict.reason == REJECTED_ON_PURPOSE,
        FaultId::NotificationPoison => {
            let source = headers::last(letter.headers(), CE_SOURCE);
            source.is_some_and(|source| source == POISON_SOURCE)
        }
        _ => false,
    }
}

/// A replayed letter.
struct Replay {
    group: &'static str,
    /// First place of its record.
    first: FirstPlace,
    /// Trace of the replay.
    trace_id: String,
}

/// Acts on the open letters that the drill caused since `began`. `window` shows what reaches the recorder from now on.
pub(super) async fn act(
    context: &Context,
    (began, mut window): (OffsetDateTime, Window<'_>),
    (known_clerk, caused): (&mut Option<Clerk>, &mut Caused),
    action: LetterAction,
) -> Result<LettersDone> {
    let place = PlaceArgs { broker: BrokerArgs::default(), recorder: None };
    let desk = Desk::open(&place, context).await?;
    let selected = select(&desk, began, caused).await?;
    caused.records.extend(selected.entries.iter().map(|entry| record_of(&entry.letter)));
    let mut done = LettersDone { action: action.as_str(), ..LettersDone::default() };
    let reason = match action {
        LetterAction::List => {
            for Entry { letter, .. } in &selected.entries {
                done.letters.push(format!("{}: {}", letter.id, letter.verdict.reason));
                done.trace_ids.extend(letter.trace_id());
            }
            return Ok(done);
        }
        LetterAction::Replay { heals: true } => "the cause is repaired",
        LetterAction::Replay { heals: false } => "to see whether a replay helps",
        LetterAction::Discard => "the records cannot be decoded by anyone",
    };
    if selected.entries.is_empty() {
        return Ok(done);
    }
    let clerk = match known_clerk.take() {
        Some(clerk) => clerk,
        None => desk.clerk(&place, context).await?,
    };
    let (note, mut replays) = (Note::new(BY, reason), Vec::new());
    let batches: Vec<Batch<'_>> = match action {
        LetterAction::Replay { .. } | LetterAction::List => batches(&selected.entries),
        LetterAction::Discard => selected.entries.iter().map(Batch::alone).collect(),
    };
    for batch in &batches {
        let acted = match action {
            LetterAction::Discard => {
                let discarded = clerk.discard(batch.first, &note).await;
                discarded.map(|action| Replayed { action, others: Vec::new() })
            }
            LetterAction::Replay { .. } | LetterAction::List => clerk.replay(batch, &note).await,
        };
        match acted {
            Ok(Replayed { action, others }) => {
                let trace_id = action.trace_id.clone().unwrap_or_default();
                replays.extend(batch.entries().map(|entry| Replay::of(&entry.letter, &trace_id)));
                add(&mut done, batch.first.letter.id, Ok(&action));
                for (entry, recorded) in batch.others.iter().zip(&others) {
                    add(&mut done, entry.letter.id, recorded.as_ref());
                }
            }
            Err(error) => batch.entries().for_each(|entry| add(&mut done, entry.letter.id, Err(&error))),
        }
    }
    *known_clerk = Some(clerk);
    if matches!(action, LetterAction::Replay { .. }) {
        let place = (&place, context, began);
        (done.handled, done.came_back) = outcomes(place, caused, &mut window, &replays).await?;
    }
    Ok(done)
}

/// Adds the result for one letter. The letters of one record have the same trace.
fn add(done: &mut LettersDone, id: LetterId, acted: Result<&Action, &ActError>) {
    match acted {
        Ok(action) => {
            done.letters.push(id.to_string());
            let new = action.trace_id.iter().filter(|trace_id| !done.trace_ids.contains(trace_id));
            let new: Vec<String> = new.cloned().collect();
            done.trace_ids.extend(new);
        }
        Err(error) => done.refused.push(format!("{id}: {error}")),
    }
}

impl Replay {
    fn of(letter: &Letter, trace_id: &str) -> Self {
        let (group, first) = (letter.id.group.as_str(), letter.first.clone());
        Self { group, first, trace_id: trace_id.to_owned() }
    }

    /// Returns true if the letter is a later copy of the replayed record in its group.
    fn came_back_as(&self, letter: &Letter) -> bool {
        self.group == letter.id.group.as_str() && self.first == letter.first
    }
}

/// Reads the open letters that the drill caused. The condition comes before the limit, so letters of others do not use it up.
async fn select(desk: &Desk, began: OffsetDateTime, caused: &Caused) -> Result<Selected> {
    let (recent, caused) = (FilterArgs::parked_since(began), caused.clone());
    let is_selected = move |letter: &Letter| recent.matches(letter) && caused.has(letter);
    desk.select_where(is_selected, false, (Keep::Oldest, LETTERS_MAX)).await
}

/// Counts the replayed letters that were handled and those that are open again, until that is all of them or the time is over.
async fn outcomes(
    (place, context, began): (&PlaceArgs, &Context, OffsetDateTime),
    caused: &Caused,
    window: &mut Window<'_>,
    replays: &[Replay],
) -> Result<(usize, usize)> {
    let until = Instant::now() + REPLAYED_MAX;
    loop {
        // A desk reads each letter once, so each look needs a new one.
        let desk = Desk::open(place, context).await?;
        let selected = select(&desk, began, caused).await?;
        let is_back = |entry: &&Entry| replays.iter().any(|replay| replay.came_back_as(&entry.letter));
        let open = selected.entries.iter().filter(is_back).count();
        let handled = handled(window.read().await?, replays);
        if handled + open >= replays.len() || Instant::now() >= until {
            return Ok((handled, open));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Counts the replays that their group handled, by the traces in the recorder.
fn handled(seen: &Observation, replays: &[Replay]) -> usize {
    let is_handled = |replay: &&Replay| {
        let is_of_replay =
            |one: &&Transaction| one.service == replay.group && one.trace_id == replay.trace_id;
        let mut of_replay = seen.transactions.iter().filter(is_of_replay);
        of_replay.any(|transaction| {
            let segment = transaction.spans.first();
            segment.is_some_and(|span| span.op == "queue.process" && span.status.as_deref() == Some("ok"))
        })
    };
    replays.iter().filter(is_handled).count()
}

#[cfg(test)]
mod tests {
    use contracts::Topic;
    use serde_json::json;

    use super::*;

    fn letter(offset: i64, headers: &[(&str, &str)]) -> Letter {
        let id = LetterId { group: Group::Notification, topic: Topic::BetsEvents, partition: 0, offset };
        let first = offset.to_string();
        let place = [
            ("dlq-original-topic", Topic::BetsEvents.name()),
            ("dlq-original-partition", "1"),
            ("dlq-original-offset", first.as_str()),
        ];
        Letter::example(id, 1_000, &[headers, &place].concat(), "{}")
    }

    #[test]
    fn letters_of_other_traffic_are_left_alone() {
        let rejected = letter(1, &[("dlq-error-message", REJECTED_ON_PURPOSE)]);
        let poison = letter(2, &[("ce_source", POISON_SOURCE), ("dlq-error-message", "unknown event type")]);
        let others = [
            letter(3, &[("dlq-error-message", "the account cannot be read")]),
            letter(4, &[("ce_source", "/import"), ("dlq-error-message", "unknown event type")]),
        ];
        let mut caused = Caused::default();
        assert!(!caused.has(&rejected) && !caused.has(&poison), "no fault was armed");
        caused.add(FaultId::ConsumerDelayedOnPurpose);
        assert!(caused.has(&rejected) && !caused.has(&poison));
        caused.add(FaultId::NotificationPoison);
        assert!(caused.has(&rejected) && caused.has(&poison));
        assert!(others.iter().all(|other| !caused.has(other)));
        caused.records.insert(record_of(&others[0]));
        assert!(caused.has(&others[0]), "a record that the drill replayed came back for another reason");
    }

    #[test]
    fn panics_are_those_of_the_release() {
        let panicked = letter(1, &[("dlq-error-class", PANIC)]);
        let mut caused = Caused::default();
        caused.add_panics(Group::Analytics);
        assert!(!caused.has(&panicked), "the letter of another group");
        caused.add_panics(Group::Notification);
        assert!(caused.has(&panicked));
        assert!(!caused.has(&letter(2, &[("dlq-error-class", "poison")])));
    }

    #[test]
    fn only_a_replayed_record_comes_back() {
        let replay = Replay::of(&letter(7, &[]), "a");
        assert!(replay.came_back_as(&letter(7, &[("dlq-error-message", "another reason")])));
        assert!(!replay.came_back_as(&letter(8, &[])), "a letter of other traffic");
    }

    #[test]
    fn replay_is_handled_by_its_own_group() {
        let transaction = |service: &str, trace_id: &str, status: &str| {
            let op = "queue.process";
            let trace = json!({ "trace_id": trace_id, "span_id": "1", "op": op, "status": status });
            Transaction::read(service, &json!({ "contexts": { "trace": trace }, "spans": [] })).unwrap()
        };
        let transactions = vec![
            transaction("notification", "a", "ok"),
            transaction("analytics", "b", "ok"),
            transaction("notification", "c", "invalid_argument"),
        ];
        let seen = Observation { transactions, ..Observation::default() };
        let replays = ["a", "b", "c"].map(|trace_id| Replay::of(&letter(1, &[]), trace_id));
        assert_eq!(handled(&seen, &replays), 1);
    }
}
